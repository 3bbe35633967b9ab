import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { Bench } from './bench.js'
import { describeMachine } from './machine.js'
import { type Options, readOptions, USAGE } from './options.js'
import { findPython, type PeerKind, peerKinds, SEG_SAM } from './peer-kinds.js'
import { replaceBetween } from './report/markers.js'
import { plot } from './report/plot.js'
import { agreementTable, machineTable, rowsTable, targetsTable } from './report/tables.js'
import { joined, type Results } from './results.js'
import { callers } from './scenarios/callers.js'
import { memory } from './scenarios/memory.js'
import { overhead } from './scenarios/overhead.js'
import { single } from './scenarios/single.js'
import { startUp } from './scenarios/start-up.js'
import { throughput } from './scenarios/throughput.js'
import { FIXTURE, isMade, readSize, type Size } from './size.js'

if (process.argv.includes('--help')) {
  console.log(USAGE)
} else {
  await main(readOptions(process.argv.slice(2)))
}

async function main(options: Options) {
  process.env.BENCH_DEVICE = options.device
  const isFixtureAlone = options.sizes.every((name) => name === FIXTURE)
  const python = isFixtureAlone ? null : findPython()
  const pytorch = python
    ? peerKinds({ python, bf16: false, int8: false }).find(({ name }) => name === 'pytorch')
    : undefined
  const machine = await describeMachine(options.quick ? undefined : pytorch)
  const sizes = madeSizes(options, python)
  const hasBf16 = options.device === 'cuda' || machine.flags.some((flag) => flag.endsWith('_bf16'))
  const bf16 = machine.rates ? machine.rates.bf16Flops !== null : hasBf16
  const kinds = peerKinds({ python, bf16, int8: machine.flags.includes('avx512_vnni') }).filter((kind) =>
    takesPart(kind, options),
  )
  const results: Results = {
    schema: 1,
    date: new Date().toISOString().slice(0, 10),
    quick: options.quick,
    device: options.device,
    machine,
    loaded: {},
    peers: Object.fromEntries(kinds.map(({ name, about }) => [name, about])),
    checked: [],
    weights: Object.fromEntries(sizes.flatMap(({ name, weightBytes }) => (weightBytes ? [[name, weightBytes]] : []))),
    rows: [],
    notes: [],
  }
  console.log(machineTable(results))
  const bench = new Bench(options, kinds, results)
  for (const size of sizes) await measure(bench, size)
  write(options.join ? withEarlier(results, options) : results, options)
}

function takesPart({ name, devices }: PeerKind, { device, peers }: Options): boolean {
  return devices.includes(device) && (name === SEG_SAM || peers === null || peers.includes(name))
}

/** Those whose files are there, after making what is missing. */
function madeSizes({ sizes, cache, device }: Options, python: string | null): Size[] {
  const missing = sizes.filter((name) => !isMade(name, cache))
  if (missing.length > 0 && python) {
    console.log(`Making ${missing.join(', ')} in ${cache}, which takes minutes a size.`)
    const withoutOnnx = device === 'cuda' ? ['--no-onnx'] : []
    const args = ['-W', 'ignore', 'models/peers/make.py', ...missing, '--out', cache, ...withoutOnnx]
    const { status } = spawnSync(python, args, { stdio: 'inherit' })
    if (status !== 0) throw new Error('models/peers/make.py failed; it needs what models/peers/requirements.txt lists')
  } else if (missing.length > 0) {
    throw new Error(
      `${missing.join(', ')} must be made first, with a Python that has what models/peers/requirements.txt lists: set BENCH_PYTHON to it`,
    )
  }
  return sizes.map((name) => readSize(name, cache))
}

/** Many callers need no large model: they run with the small sizes. */
async function measure(bench: Bench, size: Size) {
  if (bench.wants('encode') || bench.wants('decode') || bench.wants('click')) await single(bench, size)
  const isSmall = size.imageSize <= 256
  if (bench.wants('throughput') && bench.options.device === 'cuda') await throughput(bench, size)
  if (bench.wants('start-up')) await startUp(bench, size)
  if (bench.wants('overhead') && size.name !== FIXTURE && bench.options.device === 'cpu') await overhead(bench, size)
  if (bench.wants('callers') && isSmall) await callers(bench, size)
  if (bench.wants('memory')) await memory(bench, size)
}

function withEarlier(results: Results, { out }: Options): Results {
  const file = join(out, 'results.json')
  return existsSync(file) ? joined(JSON.parse(readFileSync(file, 'utf8')) as Results, results) : results
}

function write(results: Results, { out, doc }: Options) {
  mkdirSync(out, { recursive: true })
  writeFileSync(join(out, 'results.json'), `${JSON.stringify(results, null, 1)}\n`)
  writeFileSync(join(out, 'results.svg'), plot(results))
  console.log(`\n${agreementTable(results)}\n\n${rowsTable(results)}\n\n${targetsTable(results)}`)
  console.log(`\nWritten to ${out}: results.json, results.svg`)
  if (doc) rewrite(doc, results)
}

function rewrite(doc: string, results: Results) {
  if (!existsSync(doc)) throw new Error(`${doc} does not exist`)
  const picture = doc.replace(/\.md$/, '.svg')
  writeFileSync(picture, plot(results))
  const sections = {
    targets: targetsTable(results),
    machine: machineTable(results),
    agreement: agreementTable(results),
    results: rowsTable(results),
    plot: `![Medians of encode, decode and click](${relative(dirname(doc), picture)})`,
  }
  let page = readFileSync(doc, 'utf8')
  for (const [name, content] of Object.entries(sections)) page = replaceBetween(page, name, content)
  writeFileSync(doc, page)
  console.log(`Tables and picture of ${doc} rewritten.`)
}

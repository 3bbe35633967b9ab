import { setTimeout } from 'node:timers/promises'
import type { Bench } from '../bench.js'
import type { Child } from '../child.js'
import type { Size } from '../size.js'

const MB = 1e6
/** After as many seconds without work this package has given back what an encode took (native/engine/executor.cc). */
const REST_SECONDS = 11
/** At these shares of the requests the memory is looked at. */
const STOPS = [0.1, 0.5, 1]

interface Memory {
  rss: number
  peak: number
}

/** Resident memory of each peer's process: at rest after an encode, during one, and over many decodes. */
export async function memory(bench: Bench, size: Size): Promise<void> {
  const kinds = bench.kinds.filter(
    ({ command, operations }) => command === process.execPath && operations.includes('encode'),
  )
  for (const kind of kinds) {
    const [child] = await bench.start(size, [kind])
    if (!child) continue
    try {
      await measure(bench, size, child)
    } finally {
      await child.end()
    }
  }
}

async function measure(bench: Bench, size: Size, child: Child) {
  const add = (name: string, bytes: number) =>
    bench.add({ scenario: `memory: ${name}`, size: size.name, peer: child.kind.name, unit: 'MB', values: [bytes / MB] })
  const ask = async (op: string, fields = {}) => (await child.ask(op, fields)) as unknown as Memory
  await child.ask('encode')
  await child.ask('decode', { prompts: 1 })
  if (!bench.options.quick) await setTimeout(1000 * REST_SECONDS)
  const atRest = await ask('forgetPeak')
  await child.ask('encode')
  const { peak } = await ask('memory')
  add('at rest', atRest.rss)
  add('peak of an encode', peak)
  const { requests } = bench.options
  let done = 0
  for (const share of STOPS) {
    const stop = Math.round(requests * share)
    const { rss } = await ask('decodes', { requests: stop - done })
    done = stop
    add(`after ${stop} decodes`, rss)
  }
}

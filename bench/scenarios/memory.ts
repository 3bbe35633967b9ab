import { setTimeout } from 'node:timers/promises'
import type { Bench } from '../bench.js'
import type { Child } from '../child.js'
import type { PeerKind } from '../peer-kinds.js'
import type { Size } from '../size.js'

const MB = 1e6
/** After as many seconds without work this package has given back what an encode took (native/engine/executor.cc). */
const REST_SECONDS = 11
/** At these shares of the requests the memory is looked at. */
const STOPS = [0.2, 0.5, 1]
/** V8's young generation, which else grows with any work whatsoever, by up to 32 MB, at some time. */
const YOUNG_MB = 4
/** What the rows of processes begin with whose young generation is limited. */
export const LIMITED = `memory, young generation ${YOUNG_MB} MiB`

interface Memory {
  rss: number
  peak: number
}

/**
 * Resident memory of each peer's process: at rest after an encode, during one, and over many decodes; these also where
 * V8 may not let its young generation grow.
 */
export async function memory(bench: Bench, size: Size): Promise<void> {
  const kinds = bench.kinds.filter(
    ({ command, operations }) => command === process.execPath && operations.includes('encode'),
  )
  for (const kind of kinds) {
    await withChild(bench, size, kind, async (child) => {
      await atRest(bench, size, child)
      await overDecodes(bench, size, child, 'memory')
    })
    const limited = { ...kind, args: [`--max-semi-space-size=${YOUNG_MB}`, ...kind.args] }
    await withChild(bench, size, limited, async (child) => {
      await child.ask('encode')
      await overDecodes(bench, size, child, LIMITED)
    })
  }
}

async function withChild(bench: Bench, size: Size, kind: PeerKind, measure: (child: Child) => Promise<void>) {
  const [child] = await bench.start(size, [kind])
  if (!child) return
  try {
    await measure(child)
  } finally {
    await child.end()
  }
}

async function atRest(bench: Bench, size: Size, child: Child) {
  await child.ask('encode')
  await child.ask('decode', { prompts: 1 })
  if (!bench.options.quick) await setTimeout(1000 * REST_SECONDS)
  const { rss } = await memoryOf(child, 'forgetPeak')
  await child.ask('encode')
  const { peak } = await memoryOf(child, 'memory')
  add(bench, size, child, 'memory: at rest', rss)
  add(bench, size, child, 'memory: peak of an encode', peak)
}

async function overDecodes(bench: Bench, size: Size, child: Child, name: string) {
  const { requests } = bench.options
  let done = 0
  for (const share of STOPS) {
    const stop = Math.round(requests * share)
    const { rss } = await memoryOf(child, 'decodes', { requests: stop - done })
    done = stop
    add(bench, size, child, `${name}: after ${stop} decodes`, rss)
  }
}

async function memoryOf(child: Child, op: string, fields = {}): Promise<Memory> {
  return (await child.ask(op, fields)) as unknown as Memory
}

function add(bench: Bench, size: Size, child: Child, scenario: string, bytes: number) {
  bench.add({ scenario, size: size.name, peer: child.kind.name, unit: 'MB', values: [bytes / MB] })
}

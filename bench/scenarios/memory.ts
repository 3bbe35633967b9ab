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
/** V8's young generation has two or three of them, which grow to 16 MiB with any work whatsoever, at some time. */
const SEMI_SPACE_MB = 4
/** What the rows of processes begin with whose semi-spaces are limited. */
export const LIMITED = `memory, semi-spaces of ${SEMI_SPACE_MB} MiB`

interface Memory {
  rss: number
  peak: number
}

/**
 * Resident memory of each peer's process: at rest after an encode, during one, and over many decodes; all of it also
 * where V8's young generation may not grow, so that growth of the peer's own can be told from it.
 */
export async function memory(bench: Bench, size: Size): Promise<void> {
  const kinds = bench.kinds.filter(
    ({ command, operations }) => command === process.execPath && operations.includes('encode'),
  )
  for (const kind of kinds) {
    const limited = { ...kind, args: [`--max-semi-space-size=${SEMI_SPACE_MB}`, ...kind.args] }
    await measured(bench, size, kind, 'memory')
    await measured(bench, size, limited, LIMITED)
  }
}

async function measured(bench: Bench, size: Size, kind: PeerKind, name: string) {
  const [child] = await bench.start(size, [kind])
  if (!child) return
  const add = (what: string, bytes: number) =>
    bench.add({ scenario: `${name}: ${what}`, size: size.name, peer: kind.name, unit: 'MB', values: [bytes / MB] })
  try {
    await child.ask('encode')
    await child.ask('decode', { prompts: 1 })
    if (!bench.options.quick) await setTimeout(1000 * REST_SECONDS)
    const atRest = await memoryOf(child, 'forgetPeak')
    await child.ask('encode')
    add('at rest', atRest.rss)
    add('peak of an encode', (await memoryOf(child, 'memory')).peak)
    const { requests } = bench.options
    let done = 0
    for (const share of STOPS) {
      const stop = Math.round(requests * share)
      const { rss } = await memoryOf(child, 'decodes', { requests: stop - done })
      done = stop
      add(`after ${stop} decodes`, rss)
    }
  } finally {
    await child.end()
  }
}

async function memoryOf(child: Child, op: string, fields = {}): Promise<Memory> {
  return (await child.ask(op, fields)) as unknown as Memory
}

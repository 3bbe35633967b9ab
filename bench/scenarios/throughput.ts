import type { Bench } from '../bench.js'
import type { Size } from '../size.js'

const CALLS = 48
const IN_FLIGHT = 8
const ROUNDS = 5

/** The names of the scenario's rows: milliseconds a call where several are asked for at once. */
export const AT_ONCE = { encode: `encode, ${IN_FLIGHT} at once`, decode: `decode 64, ${IN_FLIGHT} at once` }

/** How long each of many calls takes where none is waited for before the next is asked for: what a GPU can be given. */
export async function throughput(bench: Bench, size: Size): Promise<void> {
  const children = await bench.start(
    size,
    bench.kinds.filter(({ operations }) => operations.includes('encode')),
  )
  try {
    for (const call of ['encode', 'decode'] as const) {
      const able = children.filter(({ kind }) => kind.operations.includes(call))
      for (const child of able) await child.ask('encode')
      const values = new Map(able.map((child) => [child, [] as number[]]))
      for (let round = -1; round < (bench.options.quick ? 1 : ROUNDS); round++) {
        for (const child of able) {
          const message = { call, prompts: 64, requests: bench.options.quick ? IN_FLIGHT : CALLS, callers: IN_FLIGHT }
          const { ms } = await child.ask('atOnce', message)
          if (round >= 0) values.get(child)!.push(ms as number)
        }
      }
      for (const [child, times] of values) {
        bench.add({ scenario: AT_ONCE[call], size: size.name, peer: child.kind.name, unit: 'ms', values: times })
      }
    }
  } finally {
    await Promise.all(children.map((child) => child.end()))
  }
}

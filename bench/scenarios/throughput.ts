import type { Bench } from '../bench.js'
import type { Size } from '../size.js'

const CALLS = 48
const IN_FLIGHT = 8

/** The names of the scenario's rows: milliseconds a call where several are asked for at once. */
export const AT_ONCE = { encode: `encode, ${IN_FLIGHT} at once`, decode: `decode 64, ${IN_FLIGHT} at once` }

/** How long each of many calls takes where none is waited for before the next is asked for: what a GPU can be given. */
export async function throughput(bench: Bench, size: Size): Promise<void> {
  const able = (call: string) => bench.kinds.filter(({ operations }) => operations.includes(call))
  const children = await bench.start(size, able('encode'))
  try {
    for (const child of children) await child.ask('encode')
    for (const call of ['encode', 'decode'] as const) {
      const timed = children.filter(({ kind }) => able(call).includes(kind))
      const requests = bench.options.quick ? IN_FLIGHT : CALLS
      await bench.time(AT_ONCE[call], size, timed, 'atOnce', { call, prompts: 64, requests, callers: IN_FLIGHT })
    }
  } finally {
    await Promise.all(children.map((child) => child.end()))
  }
}

import type { Bench } from '../bench.js'
import { Child } from '../child.js'
import type { Size } from '../size.js'

/** From a fresh process to its first mask: the library, the weights, the first encode with a decode of one click. */
export async function startUp(bench: Bench, size: Size): Promise<void> {
  const kinds = bench.kinds.filter(
    (kind) => kind.supports(size) && kind.operations.includes('decode') && kind.operations.includes('encode'),
  )
  const columns = ['library', 'weights', 'first result', 'whole process'] as const
  const found = new Map<string, number[][]>()
  for (let round = 0; round < (bench.options.quick ? 1 : 5); round++) {
    for (const kind of kinds.filter((one) => bench.failureOf(one, size) === null)) {
      const child = new Child(kind)
      try {
        const { ms, requireMs } = (await child.load(size)) as unknown as { ms: number; requireMs: number }
        const first = (await child.milliseconds('encode')) + (await child.milliseconds('decode', { prompts: 1 }))
        const values = found.get(kind.name) ?? columns.map(() => [])
        for (const [i, value] of [requireMs, ms, first, child.wallMs].entries()) values[i]!.push(value)
        found.set(kind.name, values)
      } catch (error) {
        bench.note(`${size.name}, start-up: ${error instanceof Error ? error.message : error}`)
      } finally {
        await child.end()
      }
    }
  }
  for (const [i, column] of columns.entries()) {
    for (const [peer, values] of found) {
      bench.add({ scenario: `start-up: ${column}`, size: size.name, peer, unit: 'ms', values: values[i]! })
    }
  }
}

import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Repetitions {
  warmUps: number
  least: number
  most: number
  /** Milliseconds after which no repetition beyond the least is begun. */
  budgetMs: number
}

/** Threads of a runtime spin for a while after their work, which would slow the next one. */
const SETTLE_MS = 30

/**
 * Measures several things in turn, over and over, so that what disturbs the machine meets all of them. The one to begin
 * with changes from round to round. What fails once is left out afterwards.
 *
 * @param calls name and what resolves to its milliseconds
 * @returns times by name, without those of the warm-ups; and why some failed
 */
export async function interleaved(calls: ReadonlyMap<string, () => Promise<number>>, repetitions: Repetitions) {
  const times = new Map([...calls.keys()].map((name) => [name, [] as number[]]))
  const failures = new Map<string, string>()
  const { warmUps, least, most, budgetMs } = repetitions
  let started = performance.now()
  for (let round = -warmUps; round < most; round++) {
    if (round === 0) started = performance.now()
    if (round >= least && performance.now() - started > budgetMs) break
    const alive = [...calls.keys()].filter((name) => !failures.has(name))
    for (let i = 0; i < alive.length; i++) {
      const name = alive[(i + warmUps + round) % alive.length]!
      try {
        const ms = await calls.get(name)!()
        if (round >= 0) times.get(name)!.push(ms)
      } catch (error) {
        failures.set(name, error instanceof Error ? error.message : String(error))
        times.delete(name)
      }
      await sleep(SETTLE_MS)
    }
  }
  return { times, failures }
}

import type { Bench } from '../bench.js'
import type { Child } from '../child.js'
import type { Size } from '../size.js'

interface Answer {
  ms: number
  served: number[]
  longestWaitMs: number
  medianWaitMs: number
  eventLoopMs: number
}

/** Callers that each encode an image and click on it, over and over, at the same time: throughput and event loop. */
export async function callers(bench: Bench, size: Size): Promise<void> {
  const node = bench.kinds.filter(
    ({ command, operations }) => command === process.execPath && operations.includes('encode'),
  )
  const children = await bench.start(size, node)
  try {
    for (const child of children) await child.ask('callers', { callers: 1, requests: 2 })
    for (const count of bench.options.quick ? [1, 8] : [1, 8, 64]) {
      for (let round = 0; round < (bench.options.quick ? 1 : 3); round++) {
        for (const child of children) await once(bench, size, child, count)
      }
    }
  } finally {
    await Promise.all(children.map((child) => child.end()))
  }
}

async function once(bench: Bench, size: Size, child: Child, count: number): Promise<void> {
  // Seconds of them, so that the last thousandth of the event loop's delays is several.
  const requests = bench.options.quick ? Math.max(8, 2 * count) : 256
  const answer = (await child.ask('callers', { callers: count, requests })) as unknown as Answer
  const record = (scenario: string, unit: 'ms' | 'requests/s' | 'ratio', value: number) => {
    const known = bench.results.rows.find(
      (row) => row.scenario === scenario && row.size === size.name && row.peer === child.kind.name,
    )
    if (known) known.values.push(value)
    else bench.add({ scenario, size: size.name, peer: child.kind.name, unit, values: [value] })
  }
  record(`${count} callers`, 'requests/s', (1000 * requests) / answer.ms)
  record(`${count} callers: longest wait to median`, 'ratio', answer.longestWaitMs / answer.medianWaitMs)
  record(`${count} callers: least served to most`, 'ratio', Math.min(...answer.served) / Math.max(...answer.served))
  record(`${count} callers: event loop p99.9`, 'ms', answer.eventLoopMs)
}

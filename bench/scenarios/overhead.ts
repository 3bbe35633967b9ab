import type { Bench } from '../bench.js'
import { Child } from '../child.js'
import { buildEngine, engineKind } from '../native-engine.js'
import { SEG_SAM } from '../peer-kinds.js'
import type { Size } from '../size.js'

/** The package beside its own C++ engine alone, on the same TorchScript. */
export async function overhead(bench: Bench, size: Size): Promise<void> {
  buildEngine()
  const [addon] = await bench.start(size, [bench.kind(SEG_SAM)!])
  if (!addon) return
  const engine = new Child(engineKind(size, bench.results.loaded[SEG_SAM]!.precision!))
  try {
    const pair = [addon, engine]
    for (const child of pair) await child.ask('encode')
    await bench.time('binding: encode', size, pair, 'encode')
    for (const prompts of [1, 64]) {
      await bench.time(`binding: decode ${prompts}`, size, pair, 'decode', { prompts })
    }
  } finally {
    await Promise.all([addon.end(), engine.end()])
  }
}

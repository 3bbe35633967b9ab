import { INT8, ONNX, SEG_SAM } from '../peer-kinds.js'
import { type Results, rowOf } from '../results.js'
import { LIMITED } from '../scenarios/memory.js'
import { AT_ONCE } from '../scenarios/throughput.js'
import { quantile, summarise } from '../statistics.js'

export interface Verdict {
  target: string
  wanted: string
  /** `null`: not measured. */
  reached: string | null
  met: boolean
}

const BIG = 'vit_b-1024'

/** What the package is to reach on the device of this run, and what the run has. */
export function verdicts(results: Results): Verdict[] {
  if (results.device === 'cuda') return onGpu(results)
  return [
    encodeDefault(results),
    faster(results, 'encode ViT-B 1024²: against onnxruntime int8', 'encode', 'onnxruntime-int8', 3),
    faster(results, 'encode ViT-B 1024²: int8 against onnxruntime fp32', 'encode', ONNX, 6, INT8),
    faster(results, 'encode ViT-B 1024²: int8 against onnxruntime int8', 'encode', 'onnxruntime-int8', 3, INT8),
    faster(results, 'encode ViT-B 1024²: fp32 against onnxruntime fp32', 'encode', ONNX, 1.1, fp32Peer(results)),
    faster(results, 'encode ViT-B 1024²: against torch.compile bf16', 'encode', 'torch.compile-bf16', 1.3),
    faster(results, 'decode 64 prompts, ViT-B 1024²: against onnxruntime', 'decode 64', ONNX, 5),
    click(results, 'tiny-256', 15),
    click(results, BIG, 40),
    ...callers(results),
    ...binding(results),
    eventLoop(results),
    ...memory(results),
  ]
}

function median(results: Results, scenario: string, size: string, peer: string): number | null {
  const row = rowOf(results, scenario, size, peer)
  return row ? summarise(row.values).median : null
}

function fp32Peer({ loaded }: Results): string {
  return loaded[SEG_SAM]?.precision === 'fp32' ? SEG_SAM : 'seg-sam-fp32'
}

/** Each also as a ratio to PyTorch on the same card. */
function onGpu(results: Results): Verdict[] {
  const verdict = (target: string, wanted: string, scenario: string, of: (ms: number) => [string, boolean]) => {
    const ours = median(results, scenario, BIG, SEG_SAM)
    const [reached, met] = ours === null ? [null, false] : of(ours)
    const ratios = ['pytorch', 'pytorch-bf16', 'torch.compile-bf16'].flatMap((peer) => {
      const theirs = median(results, scenario, BIG, peer)
      return ours === null || theirs === null ? [] : [`${(theirs / ours).toFixed(1)}× ${peer}`]
    })
    return { target, wanted, reached: reached && [reached, ...ratios].join(', '), met }
  }
  const rate = (items: number, least: number) => (ms: number) => {
    const aSecond = (1000 * items) / ms
    return [`${aSecond.toFixed(0)}/s`, aSecond >= least] as [string, boolean]
  }
  return [
    verdict('encode ViT-B 1024², bf16, several at once', '≥ 300 images/s', AT_ONCE.encode, rate(1, 300)),
    verdict('decode, batches of 64, several at once', '≥ 20000 prompts/s', AT_ONCE.decode, rate(64, 20000)),
    verdict('click to mask, 2048² original', '≤ 3 ms', 'click to mask', (ms) => [`${ms.toFixed(2)} ms`, ms <= 3]),
  ]
}

function faster(
  results: Results,
  target: string,
  scenario: string,
  peer: string,
  least: number,
  own = SEG_SAM,
): Verdict {
  const [theirs, ours] = [median(results, scenario, BIG, peer), median(results, scenario, BIG, own)]
  const wanted = `≥ ${least}×`
  if (theirs === null || ours === null) return { target, wanted, reached: null, met: false }
  return { target, wanted, reached: `${(theirs / ours).toFixed(2)}×`, met: theirs / ours >= least }
}

function encodeDefault(results: Results): Verdict {
  const verdict = faster(results, 'encode ViT-B 1024², default precision: against onnxruntime fp32', 'encode', ONNX, 6)
  const agreement = results.checked.find(({ size, peer }) => size === BIG && peer === SEG_SAM)?.agreement
  const hardware = results.machine.rates?.bf16Flops ? '' : '; needs bf16 in hardware, which this processor lacks'
  return {
    ...verdict,
    wanted: '≥ 6×, Dice ≥ 0.99',
    reached: verdict.reached && agreement ? `${verdict.reached}, Dice ${agreement.dice.toFixed(4)}${hardware}` : null,
    met: verdict.met && agreement !== undefined && agreement !== null && agreement.dice >= 0.99,
  }
}

function click(results: Results, size: string, most: number): Verdict {
  const ours = median(results, 'click to mask', size, SEG_SAM)
  const theirs = median(results, 'click to mask', size, ONNX)
  const ratio = ours !== null && theirs !== null ? theirs / ours : null
  const comparison = ratio === null ? '' : `, ${ratio.toFixed(2)}×`
  return {
    target: `click to mask, ${size}, scene ready, 2048² original`,
    wanted: `≤ ${most} ms, or ≥ 2× onnxruntime-node`,
    reached: ours === null ? null : `${ours.toFixed(1)} ms${comparison}`,
    met: ours !== null && (ours <= most || (ratio ?? 0) >= 2),
  }
}

function callers(results: Results): Verdict[] {
  return sizesOf(results, '64 callers').map((size) => {
    const many = median(results, '64 callers', size, SEG_SAM)!
    const one = median(results, '1 callers', size, SEG_SAM)!
    const served = rowOf(results, '64 callers: least served to most', size, SEG_SAM)!.values
    const least = Math.min(...served)
    return {
      target: `64 callers with mixed images against one after another, ${size}`,
      wanted: '≥ 1.5× throughput, none starved',
      reached: `${(many / one).toFixed(2)}×, least served to most ${least.toFixed(2)}`,
      met: many / one >= 1.5 && least > 0,
    }
  })
}

function binding(results: Results): Verdict[] {
  const sizes = sizesOf(results, 'binding: encode')
  return sizes.flatMap((size) => {
    const added = (scenario: string) =>
      median(results, scenario, size, SEG_SAM)! - median(results, scenario, size, 'engine')!
    const share = added('binding: encode') / median(results, 'binding: encode', size, 'engine')!
    const decode = added('binding: decode 1')
    return [
      {
        target: `binding over the engine in C++ alone: encode, ${size}`,
        wanted: '≤ 2 %',
        reached: `${(100 * share).toFixed(1)} %`,
        met: share <= 0.02,
      },
      {
        target: `binding over the engine in C++ alone: decode of one prompt, ${size}`,
        wanted: '≤ 0.3 ms',
        reached: `${decode.toFixed(2)} ms`,
        met: decode <= 0.3,
      },
    ]
  })
}

function eventLoop(results: Results): Verdict {
  const values = results.rows.filter(({ scenario, peer }) => scenario.endsWith('event loop p99.9') && peer === SEG_SAM)
  const worst = Math.max(...values.flatMap((row) => quantile(row.values, 0.5)))
  return {
    target: 'event-loop delay under full load, p99.9',
    wanted: '≤ 10 ms',
    reached: values.length === 0 ? null : `${worst.toFixed(1)} ms`,
    met: worst <= 10,
  }
}

/** Weights as the bundle's parameters in float32. */
function memory(results: Results): Verdict[] {
  return sizesOf(results, 'memory: at rest').flatMap((size) => {
    const weights = results.weights[size]
    const atRest = median(results, 'memory: at rest', size, SEG_SAM)!
    const peak = median(results, 'memory: peak of an encode', size, SEG_SAM)!
    const verdicts: Verdict[] = []
    if (weights) {
      verdicts.push({
        target: `resident memory beyond one encode's activations, ${size}`,
        wanted: '≤ 1.5 × weights',
        reached: `${(atRest / (weights / 1e6)).toFixed(2)} × (${atRest.toFixed(0)} MB; ${peak.toFixed(0)} MB in an encode)`,
        met: atRest <= (1.5 * weights) / 1e6,
      })
    }
    verdicts.push(...flat(results, size, 'memory', ''), ...flat(results, size, LIMITED, ", V8's semi-spaces limited"))
    return verdicts
  })
}

/** Of processes whose rows begin with `name`. */
function flat({ rows }: Results, size: string, name: string, where: string): Verdict[] {
  const prefix = `${name}: after `
  const after = rows.filter((row) => row.size === size && row.peer === SEG_SAM && row.scenario.startsWith(prefix))
  if (after.length < 2) return []
  const first = after[0]!.values[0]!
  const growth = after.at(-1)!.values[0]! - first
  return [
    {
      target: `resident memory flat over ${after.at(-1)!.scenario.slice(prefix.length)}${where}, ${size}`,
      wanted: '≤ 2 % more than after a fifth of them',
      reached: `${growth >= 0 ? '+' : ''}${growth.toFixed(1)} MB`,
      met: growth <= 0.02 * first,
    },
  ]
}

function sizesOf({ rows }: Results, scenario: string): string[] {
  return rows.filter((row) => row.scenario === scenario && row.peer === SEG_SAM).map(({ size }) => size)
}

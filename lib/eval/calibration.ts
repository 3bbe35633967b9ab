/** What a model said of one of its answers, and what was true: both 0 to 1. */
export interface Judgement {
  said: number
  /** 1 or 0 where it is a matter of right and wrong, else the IoU or Dice reached. */
  true: number
}

export interface ReliabilityBin {
  from: number
  to: number
  count: number
  /** Means of the bin; `null` where it is empty. */
  said: number | null
  true: number | null
}

export interface Reliability {
  count: number
  bins: ReliabilityBin[]
  /** Expected calibration error: the mean gap between said and true, bins weighted by their count. */
  error: number | null
}

const BINS = 10

/**
 * Reliability diagram and expected calibration error in ten bins of equal width (Guo et al. 2017, section 2). What was
 * said is cut to 0 to 1: a predicted IoU may lie outside.
 */
export function reliability(judgements: readonly Judgement[]): Reliability {
  const members = Array.from({ length: BINS }, (): Judgement[] => [])
  for (const judgement of judgements) {
    const said = Math.min(Math.max(judgement.said, 0), 1)
    members[Math.min(Math.floor(said * BINS), BINS - 1)]!.push({ said, true: judgement.true })
  }
  const bins = members.map((bin, i) => ({
    from: i / BINS,
    to: (i + 1) / BINS,
    count: bin.length,
    said: mean(bin.map(({ said }) => said)),
    true: mean(bin.map((judgement) => judgement.true)),
  }))
  const gaps = bins.filter(({ count }) => count > 0).map((bin) => bin.count * Math.abs(bin.said! - bin.true!))
  const error = judgements.length === 0 ? null : gaps.reduce((a, b) => a + b, 0) / judgements.length
  return { count: judgements.length, bins, error }
}

export interface RiskCoverage {
  /** Mean risk (1 - quality) of the share of answers that the model trusts most, from few to all; thinned. */
  curve: { coverage: number; risk: number }[]
  /** Area under the curve: the lower, the better bad answers are found. `null` without answers. */
  area: number | null
  /** The area where answers were sorted by their true quality: no order has a lower one. */
  best: number | null
  /** The area of an order that says nothing: the mean risk. */
  chance: number | null
}

const CURVE_POINTS = 100

/**
 * Risk-coverage curve (El-Yaniv and Wiener 2010) and the area under it, the mean of the risks at every coverage (Geifman
 * et al. 2019). Answers that are trusted alike share their mean risk, so that their order does not matter.
 *
 * @param judgements said: the trust in an answer; true: its quality
 */
export function riskCoverage(judgements: readonly Judgement[]): RiskCoverage {
  if (judgements.length === 0) return { curve: [], area: null, best: null, chance: null }
  const risks = cumulativeRisks(judgements)
  const every = Math.ceil(risks.length / CURVE_POINTS)
  const curve = risks
    .map((risk, i) => ({ coverage: (i + 1) / risks.length, risk }))
    .filter((_, i) => i % every === 0 || i === risks.length - 1)
  const best = cumulativeRisks(judgements.map((judgement) => ({ said: judgement.true, true: judgement.true })))
  return { curve, area: mean(risks), best: mean(best), chance: risks.at(-1)! }
}

/** At i: the mean risk of the i + 1 most trusted. */
function cumulativeRisks(judgements: readonly Judgement[]): number[] {
  const groups = new Map<number, number[]>()
  for (const { said, true: quality } of judgements) {
    const group = groups.get(said)
    if (group) group.push(1 - quality)
    else groups.set(said, [1 - quality])
  }
  const inOrder = [...groups].sort(([a], [b]) => b - a).flatMap(([, risks]) => risks.map(() => mean(risks)!))
  let total = 0
  return inOrder.map((risk, i) => {
    total += risk
    return total / (i + 1)
  })
}

/** `null` of nothing. */
export function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length
}

/** How far a runtime's outputs are from those of PyTorch in float32. */
export interface Agreement {
  /** Mean Dice of the masks, logits above 0; of two empty masks it is 1. */
  dice: number
  /** Largest difference of the logits, as a share of the largest logit. */
  relativeError: number
  /** Largest difference of the predicted IoU. */
  iouError: number
}

export const EXACT = { dice: 0.999, relativeError: 1e-3, iouError: 1e-3 }
/** For 8-bit and bf16 arithmetic. */
export const REDUCED = { dice: 0.9, relativeError: 0.25, iouError: 0.25 }

/**
 * @param actual logits of `masks` masks of `pixels` each, then their IoU; as `expected`
 */
export function agreementOf(actual: Float32Array, expected: Float32Array, masks: number, pixels: number): Agreement {
  const length = masks * (pixels + 1)
  if (actual.length !== length || expected.length !== length) {
    throw new RangeError(`outputs of ${actual.length} and ${expected.length} values, not ${length}`)
  }
  let dice = 0
  let difference = 0
  let largest = 0
  for (let mask = 0; mask < masks; mask++) {
    let [both, sum] = [0, 0]
    for (let i = mask * pixels; i < (mask + 1) * pixels; i++) {
      const [a, b] = [actual[i]!, expected[i]!]
      // NaN must not pass for agreement.
      if (!(Math.abs(a - b) <= difference)) difference = Math.abs(a - b)
      largest = Math.max(largest, Math.abs(b))
      both += a > 0 && b > 0 ? 2 : 0
      sum += (a > 0 ? 1 : 0) + (b > 0 ? 1 : 0)
    }
    dice += sum === 0 ? 1 : both / sum
  }
  let iouError = 0
  for (let i = masks * pixels; i < length; i++) iouError = Math.max(iouError, Math.abs(actual[i]! - expected[i]!))
  return { dice: dice / masks, relativeError: difference / largest, iouError }
}

export function agrees({ dice, relativeError, iouError }: Agreement, limits: Agreement): boolean {
  return dice >= limits.dice && relativeError <= limits.relativeError && iouError <= limits.iouError
}

import type { FollowedSlice } from './followed-slice.js'
import type { CheckedRules } from './options.js'

/** Why an object ends on one side. */
export type StopReason =
  /** The mask of the next slice is empty, or does not touch this one. */
  | 'empty'
  /** It has fewer pixels than `minArea`. */
  | 'minArea'
  /** It is larger or smaller by more than `maxAreaChange`. */
  | 'maxAreaChange'
  /** It lies elsewhere: `minOverlap`. */
  | 'minOverlap'
  | 'minPredictedIou'
  | 'minAgreement'
  /** It is brighter or darker by more than `maxIntensityChange`. */
  | 'maxIntensityChange'
  /** The class of its prompt is hardly probable any more, and its intensity changes: `minClassProbability`. */
  | 'minClassProbability'
  /** It is of another class: `sameClass`. */
  | 'sameClass'
  | 'maxSlices'
  /** The next slice was prompted, or said to be without the object. */
  | 'prompt'
  /** There is no next slice. */
  | 'end'

/** Where an object ends on one side. */
export interface Stop {
  reason: StopReason
  /** The first slice that is not reached; -1 or the number of slices at the end of the volume. */
  slice: number
  /** What a rule judged: pixels, a ratio, an IoU; `null` where nothing was measured. */
  value: number | null
}

/** A lost class alone is often a slip of the name: the image must change with it, by so many standard deviations. */
const CHANGE_WITH_CLASS = 0.3

/**
 * Whether an object ends before a slice.
 *
 * @param prompted the slice that it was prompted on
 * @param last the slice before
 */
export function stopBefore(
  next: FollowedSlice,
  last: FollowedSlice,
  prompted: FollowedSlice,
  rules: CheckedRules,
): Stop | null {
  const { slice, area, overlap, predictedIou, agreement } = next
  if (area === 0) return { reason: 'empty', slice, value: 0 }
  if (area < rules.minArea) return { reason: 'minArea', slice, value: area }
  const change = Math.max(area / last.area, last.area / area)
  if (change > rules.maxAreaChange) return { reason: 'maxAreaChange', slice, value: area / last.area }
  if (overlap! < rules.minOverlap) return { reason: 'minOverlap', slice, value: overlap }
  if (isBelow(predictedIou, rules.minPredictedIou, prompted.predictedIou)) {
    return { reason: 'minPredictedIou', slice, value: predictedIou }
  }
  if (agreement !== null && isBelow(agreement, rules.minAgreement, prompted.agreement ?? 0)) {
    return { reason: 'minAgreement', slice, value: agreement }
  }
  const intensityChange = intensityChangeOf(next, prompted)
  if (intensityChange > rules.maxIntensityChange) {
    return { reason: 'maxIntensityChange', slice, value: intensityChange }
  }
  const { classProbability } = next
  if (
    classProbability !== null &&
    isBelow(classProbability, rules.minClassProbability, prompted.classProbability!) &&
    intensityChangeOf(next, last) > CHANGE_WITH_CLASS
  ) {
    return { reason: 'minClassProbability', slice, value: classProbability }
  }
  if (rules.sameClass && next.label?.id !== prompted.label?.id) {
    return { reason: 'sameClass', slice, value: next.label?.probability ?? null }
  }
  return null
}

/** In standard deviations, of which one is a gray level at least: what is all of one gray may differ by that much. */
function intensityChangeOf({ intensity }: FollowedSlice, before: FollowedSlice): number {
  return Math.abs(intensity.mean - before.intensity.mean) / Math.max(1, before.intensity.deviation)
}

/** A predicted IoU may be negative: no share of it is asked for where none is wanted. */
function isBelow(value: number, share: number, reference: number): boolean {
  return share > 0 && value < share * reference
}

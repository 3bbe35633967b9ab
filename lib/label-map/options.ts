import { z } from 'zod'
import { checkedEverything, EVERYTHING_OPTIONS, type EverythingOptions } from '../everything/options.js'
import { checkOptions, parsedOptions } from '../options.js'
import type { RegionRulesByClass } from './regions.js'

/**
 * How a label map is made. The whole image is segmented first, with the options of `scene.segmentEverything`. Three of
 * its defaults differ, because masks compete by evidence here instead of being cut off: `multimask` is `false` (the
 * class of a point is not that of its parts), `predIouThresh` and `stabilityScoreThresh` are 0.
 */
export interface LabelMapOptions extends EverythingOptions {
  /**
   * Masks with less evidence for their class (probability x predicted IoU x agreement) are `unknown`. 0 to 1; default
   * 0.1, chosen on a few training images with seg-sam-tiny 0.1.0.
   */
  minEvidence?: number
  /** What the regions of each class must be like, by class id. Default: they are taken as they are. */
  regions?: RegionRulesByClass
}

const shape = {
  minEvidence: z.number().min(0).max(1).default(0.1).describe('a number from 0 to 1'),
}

export const LABEL_MAP_OPTIONS = [...EVERYTHING_OPTIONS, 'minEvidence', 'regions'] as (keyof LabelMapOptions)[]

/** @throws SegSamError `INVALID_ARGUMENT` */
export function checkedLabelMap(options: LabelMapOptions, semantic: 'trained' | 'untrained') {
  checkOptions(options, LABEL_MAP_OPTIONS)
  const { minEvidence } = parsedOptions(options, shape)
  const { multimask = false, predIouThresh = 0, stabilityScoreThresh = 0, regions = {}, ...rest } = options
  delete rest.minEvidence
  const everything = checkedEverything({ ...rest, multimask, predIouThresh, stabilityScoreThresh }, semantic)
  return { everything, regions, minEvidence }
}

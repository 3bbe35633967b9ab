import { z } from 'zod'
import { CALL_OPTIONS, type CallOptions } from '../call.js'
import type { NewClassCard } from '../classes.js'
import { unexpected } from '../errors.js'
import { checkOptions, parsedOptions } from '../options.js'

/**
 * How a whole image is segmented: the parameters of segment-anything's `SamAutomaticMaskGenerator` under its names. What
 * it has beyond these is left out: grids of your own (`point_grids`) and `output_mode`.
 */
export interface EverythingOptions extends CallOptions {
  /** Points along each side of the image: its square is the number of prompts. 1 to 128; default 32. */
  pointsPerSide?: number
  /**
   * Points decoded together, at most: fewer where the masks of a large image would take more than 64 MiB. It changes
   * the memory and the time, not the result. Default 64.
   */
  pointsPerBatch?: number
  /** Three masks a point (whole, part, subpart) or one. Default `true`, as in SAM. */
  multimask?: boolean
  /** Masks with a predicted IoU of this or less are left out. 0 to 1; 0 keeps all. Default 0.88. */
  predIouThresh?: number
  /** Masks with a lower stability score are left out. 0 to 1; 0 keeps all. Default 0.95. */
  stabilityScoreThresh?: number
  /** How far the threshold on the logits is shifted, up and down, to see how stable a mask is. Default 1. */
  stabilityScoreOffset?: number
  /**
   * Masks whose Dice with the semantic mask of the same point is lower are left out: the two decoders disagree. With
   * a the `agreement` of a mask, its Dice is 2a / (1 + a). 0 to 1; 0 keeps all. Default 0.5; an untrained bundle takes 0.
   */
  diceThresh?: number
  /** Of two masks whose boxes have a greater IoU, the one with the lower predicted IoU is left out. Default 0.7. */
  boxNmsThresh?: number
  /** Holes and islands of masks that are smaller, in pixels, are filled or removed. Default 0: none. */
  minMaskRegionArea?: number
  /**
   * Layers of crops that are segmented in addition to the image as a whole: 2 x 2 crops in the first, 4 x 4 in the second,
   * and so on. Small objects are larger in them; each crop is encoded anew, one at a time, and takes about as long as the
   * image. Masks that end near the edge of a crop are left out. 0 to 4; default 0. Above 0 it needs the pixels:
   * `model.segmentEverything` and `model.labelMap` have them, a scene has not.
   */
  cropNLayers?: number
  /**
   * Of two masks from different crops whose boxes have a greater IoU, the one from the larger crop is left out. 0 to 1;
   * default 0.7.
   */
  cropNmsThresh?: number
  /**
   * How far crops of the first layer overlap, as a share of the short side of the image; half as much in each further
   * layer. 0 to below 1; default 512 / 1500.
   */
  cropOverlapRatio?: number
  /** In layer n of the crops, points along each side are fewer by this factor to the power of n. Default 1: as many. */
  cropNPointsDownscaleFactor?: number
  /** The classes that may be named, as in `scene.segment`. Default: all of `model.classes`. */
  classes?: readonly (string | NewClassCard)[]
}

const share = z.number().min(0).max(1)
const SHARE = 'a number from 0 to 1'

const shape = {
  pointsPerSide: z.int().min(1).max(128).default(32).describe('a whole number from 1 to 128'),
  pointsPerBatch: z.int().min(1).default(64).describe('a whole number, at least 1'),
  multimask: z.boolean().default(true).describe('true or false'),
  predIouThresh: share.default(0.88).describe(SHARE),
  stabilityScoreThresh: share.default(0.95).describe(SHARE),
  stabilityScoreOffset: z.number().min(0).max(1000).default(1).describe('a number of logits from 0 to 1000'),
  diceThresh: share.optional().describe(SHARE),
  boxNmsThresh: share.default(0.7).describe(SHARE),
  minMaskRegionArea: z.int().min(0).default(0).describe('a whole number of pixels, from 0 on'),
  cropNLayers: z.int().min(0).max(4).default(0).describe('a whole number from 0 to 4'),
  cropNmsThresh: share.default(0.7).describe(SHARE),
  cropOverlapRatio: z
    .number()
    .min(0)
    .lt(1)
    .default(512 / 1500)
    .describe('a number from 0 to below 1'),
  cropNPointsDownscaleFactor: z.int().min(1).default(1).describe('a whole number, at least 1'),
}

export const EVERYTHING_OPTIONS = [...Object.keys(shape), 'classes', ...CALL_OPTIONS] as (keyof EverythingOptions)[]

const TRAINED_DICE = 0.5

/** @throws SegSamError `INVALID_ARGUMENT` */
export function checkedEverything(options: EverythingOptions, semantic: 'trained' | 'untrained') {
  checkOptions(options, EVERYTHING_OPTIONS)
  const { diceThresh = semantic === 'trained' ? TRAINED_DICE : 0, ...rest } = parsedOptions(options, shape)
  if (semantic === 'untrained' && diceThresh > 0) {
    throw unexpected('INVALID_ARGUMENT', 'diceThresh', diceThresh, '0: the semantic part of this bundle is untrained')
  }
  const { pointsPerSide, cropNLayers, cropNPointsDownscaleFactor: factor } = rest
  if (factor ** cropNLayers > pointsPerSide) {
    throw unexpected(
      'INVALID_ARGUMENT',
      'cropNPointsDownscaleFactor',
      factor,
      `at most ${Math.floor(pointsPerSide ** (1 / cropNLayers) + 1e-9)}`,
      `In layer ${cropNLayers} no point would be left of the ${pointsPerSide} along each side.`,
    )
  }
  return { ...rest, diceThresh, semantic }
}

export type CheckedEverything = ReturnType<typeof checkedEverything>

/** @throws SegSamError `INVALID_ARGUMENT` where a scene is to look at crops: it does not hold their pixels */
export function checkWithoutCrops({ cropNLayers }: CheckedEverything, method: string): void {
  if (cropNLayers === 0) return
  throw unexpected(
    'INVALID_ARGUMENT',
    'cropNLayers',
    cropNLayers,
    '0 for a scene, which does not hold the pixels of the image',
    `Call model.${method}(image, { cropNLayers: ${cropNLayers} }), which encodes the image and its crops.`,
  )
}

import { z } from 'zod'
import { CALL_OPTIONS, type CallOptions } from '../call.js'
import type { NewClassCard } from '../classes.js'
import { unexpected } from '../errors.js'
import { checkOptions, parsedOptions } from '../options.js'
import type { Axis } from '../volume/axes.js'
import type { WindowChoice } from '../window.js'
import type { FollowStep } from './follow.js'

/** How an object is carried from one slice to the next, and when it ends: docs/volumes.md has what was measured. */
export interface FollowRules {
  /** How far the box of the next slice is larger than the mask, on each side, as a share of its side. Default 0.03. */
  margin?: number
  /** The logits of the mask go along as a mask prompt. Default `false`. */
  carryLogits?: boolean
  /** The innermost pixel of the mask goes along as a point. Default `false`. */
  carryPoint?: boolean
  /** Pieces of a mask that do not touch that of the slice before are dropped. Default `true`. */
  touching?: boolean
  /** The object ends before a mask with fewer pixels. Default 4. */
  minArea?: number
  /** It ends before a mask with so many times the pixels of the last one, or so many times fewer. Default 3. */
  maxAreaChange?: number
  /** It ends before a mask whose IoU with the last one is lower. 0 to 1; default 0.3. */
  minOverlap?: number
  /** It ends before a mask whose predicted IoU is lower than this share of that of its prompt. 0 to 1; default 0.5. */
  minPredictedIou?: number
  /** It ends before a mask whose agreement is lower than this share of that of its prompt. 0 to 1; default 0.5. */
  minAgreement?: number
  /**
   * It ends before a mask under which the image is brighter or darker than on its prompt, by so many standard deviations of
   * the pixels there: means are compared. Default 2.
   */
  maxIntensityChange?: number
  /**
   * It ends before a mask for which the class of its prompt is less probable than this share of what it was there, if the
   * image under it is brighter or darker than on the slice before as well, by 0.3 standard deviations. 0 to 1; default 0: off.
   */
  minClassProbability?: number
  /** It ends before a mask of another class than that of its prompt. Default `false`. */
  sameClass?: boolean
  /** It ends after so many slices on each side of its prompt. Default: at the end of the volume. */
  maxSlices?: number
}

export interface SegmentVolumeOptions extends FollowRules, CallOptions {
  /** What slices are perpendicular to; prompts are pixels of such slices. Default `z`: as they lie in memory. */
  axis?: Axis
  /**
   * One window for all slices. Default: that of the file; where it has none, the values of an 8-bit volume as they are,
   * of others the 0.5 and 99.5 percentiles of the volume.
   */
  window?: WindowChoice
  /** Logits above it are foreground. Default 0, as in SAM. */
  threshold?: number
  /** The classes that may be named, as in `scene.segment`. Default: all of `model.classes`. */
  classes?: readonly (string | NewClassCard)[]
  /** Told of each slice of each object as soon as it is known. What it throws ends the call. */
  onProgress?: (step: FollowStep) => void
}

export interface CorrectOptions extends CallOptions {
  /** As in `model.segmentVolume`. */
  onProgress?: (step: FollowStep) => void
}

const share = z.number().min(0).max(1)
const SHARE = 'a number from 0 to 1'
const flag = z.boolean()
const FLAG = 'true or false'

const shape = {
  threshold: z.number().default(0).describe('a finite number'),
  margin: z.number().min(0).max(10).default(0.03).describe('a number from 0 to 10'),
  carryLogits: flag.default(false).describe(FLAG),
  carryPoint: flag.default(false).describe(FLAG),
  touching: flag.default(true).describe(FLAG),
  minArea: z.int().min(1).default(4).describe('a whole number of pixels, at least 1'),
  maxAreaChange: z.number().gt(1).default(3).describe('a number above 1'),
  minOverlap: share.default(0.3).describe(SHARE),
  minPredictedIou: share.default(0.5).describe(SHARE),
  minAgreement: share.default(0.5).describe(SHARE),
  maxIntensityChange: z.number().min(0).default(2).describe('a number of standard deviations, from 0 on'),
  minClassProbability: share.default(0).describe(SHARE),
  sameClass: flag.default(false).describe(FLAG),
  maxSlices: z.int().min(0).default(Number.MAX_SAFE_INTEGER).describe('a whole number of slices, from 0 on'),
}

export type CheckedRules = z.output<z.ZodObject<typeof shape>>

/** @throws SegSamError `INVALID_ARGUMENT` */
export function checkedRules(options: SegmentVolumeOptions): CheckedRules {
  const names = [...Object.keys(shape), 'axis', 'window', 'classes', 'onProgress', ...CALL_OPTIONS]
  checkOptions(options, names as (keyof SegmentVolumeOptions)[])
  checkOnProgress(options.onProgress)
  return parsedOptions(options, shape)
}

/** @throws SegSamError `INVALID_ARGUMENT` */
export function checkOnProgress(onProgress: unknown): void {
  if (onProgress === undefined || typeof onProgress === 'function') return
  throw unexpected('INVALID_ARGUMENT', 'onProgress', onProgress, 'a function')
}

import { z } from 'zod'
import { CALL_OPTIONS } from '../call.js'
import { LABEL_MAP_OPTIONS, type LabelMapOptions } from '../label-map/options.js'
import { checkOptions, parsedOptions } from '../options.js'
import type { Axis } from '../volume/axes.js'
import { checkOnProgress } from '../volume-objects/options.js'
import type { WindowChoice } from '../window.js'

/** How the slices of a volume become one label map. Each is labelled as `scene.labelMap` does it. */
export interface LabelVolumeOptions extends LabelMapOptions {
  /** What slices are perpendicular to. Default `z`: as they lie in memory. */
  axis?: Axis
  /** One window for all slices, as in `model.segmentVolume`. */
  window?: WindowChoice
  /**
   * A voxel takes the value that most of the slices have at its place, this many on each side and its own, which also
   * decides where none has the majority. 1, the default, removes what is on one slice only; 0 takes slices as they are.
   */
  smoothing?: number
  /** Of each class only the region with the most voxels stays (26 neighbours), the others are `unknown`. Default `false`. */
  largestRegion?: boolean
  /** Regions of a class (26 neighbours) that hold less are `unknown`. In ml; default 0: none. */
  minMillilitres?: number
  /** Told after each slice how many are done. What it throws ends the call. */
  onProgress?: (step: LabelStep) => void
}

export interface LabelStep {
  /** The slice that was labelled. */
  slice: number
  /** Slices labelled, this one among them, and all of the volume. */
  done: number
  total: number
}

const shape = {
  smoothing: z.int().min(0).max(20).default(1).describe('a whole number of slices from 0 to 20'),
  largestRegion: z.boolean().default(false).describe('true or false'),
  minMillilitres: z.number().min(0).default(0).describe('a number of ml, from 0 on'),
}

export type CheckedConsistency = z.output<z.ZodObject<typeof shape>>

/**
 * @returns the rules of consistency, and the options of each slice
 * @throws SegSamError `INVALID_ARGUMENT`
 */
export function checkedConsistency(options: LabelVolumeOptions) {
  const own = [...Object.keys(shape), 'axis', 'window', 'onProgress'] as (keyof LabelVolumeOptions)[]
  checkOptions(options, [...LABEL_MAP_OPTIONS, ...own])
  checkOnProgress(options.onProgress)
  const ofSlices = Object.fromEntries(
    Object.entries(options).filter(([name]) => !([...own, ...CALL_OPTIONS] as string[]).includes(name)),
  ) as LabelMapOptions
  return { consistency: parsedOptions(options, shape), ofSlices }
}

import type { Mask } from '../mask.js'
import type { ModelInfo } from '../model.js'
import { packageVersion } from '../package-root.js'
import type { Hit, Label } from '../scene.js'
import type { Axis } from '../volume/axes.js'
import type { Volume, VolumeWarning } from '../volume.js'
import type { VolumeClass, VolumeLabelMap } from '../volume-label-map.js'
import type { CheckedRules } from '../volume-objects/options.js'
import type { Stop } from '../volume-objects/stop.js'
import type { AbsentMark, VolumePrompt } from '../volume-objects/volume-prompts.js'
import type { VolumeObject, VolumeObjects } from '../volume-objects.js'
import type { AppliedWindow } from '../window.js'
import type { FormatFiles } from './formats.js'

/** How the results of `seg-sam volume` begin. */
export interface VolumeResultHead {
  schema: 1
  /** Version of seg-sam. */
  version: string
  volume: {
    path: string
    /** Voxels along i, j and k. */
    shape: Volume['shape']
    channels: Volume['channels']
    /** In mm, along i, j and k. */
    spacing: Volume['spacing']
    warnings: readonly VolumeWarning[]
    /** What the slices are perpendicular to, and how many there are. */
    axis: Axis
    slices: number
    /** How each slice was shown to the model; `null`: as it was. */
    window: AppliedWindow | null
  }
  model: ModelInfo
}

/** What every result of `seg-sam volume` ends with. */
export interface VolumeResultTail {
  /** Names of the files of `--format` in the folder given with `--out`, by format. */
  formats: FormatFiles
  /** Wall-clock time of each step. */
  seconds: Record<string, number>
}

/**
 * What `seg-sam volume --json` writes to stdout, and `--out` to `result.json`, for prompts. Fields may be added; those here
 * keep their meaning as long as `schema` is 1.
 */
export interface VolumeObjectsResult extends VolumeResultHead, VolumeResultTail {
  /** What they were followed by; `maxSlices` is `null` where the volume alone sets the end. */
  rules: Omit<CheckedRules, 'maxSlices'> & { maxSlices: number | null }
  /** One for each prompt, in their order. */
  objects: VolumeObjectResult[]
}

export interface VolumeObjectResult {
  prompt: VolumePrompt | AbsentMark
  /** Of the whole object; `null` for the reason in `labelReason`. */
  label: Label | null
  labelReason: Hit['labelReason']
  voxels: number
  /** By the affine of the volume. */
  ml: number
  /** Mean over the pixels of all slices; `null` where there is none. */
  predictedIou: number | null
  /** Those that the object is on, by rising index. */
  slices: {
    slice: number
    /** In pixels. */
    area: number
    bbox: Mask['bbox']
    predictedIou: number
    agreement: number | null
    /** IoU with the mask of the slice before; `null` on the prompted slice. */
    overlap: number | null
    label: Label | null
  }[]
  /** Where and why it ends, towards slice 0 and towards the last slice. */
  stops: { low: Stop; high: Stop } | null
}

/** The same with `--label`. */
export interface VolumeLabelsResult extends VolumeResultHead, VolumeResultTail {
  /** By the value of their voxels. */
  classes: (Omit<VolumeClass, 'millilitres'> & { ml: number })[]
  /** Why there is no class but `unknown`; `null` where there is one. */
  labelReason: Hit['labelReason']
}

export function describeObjects(path: string, found: VolumeObjects): Omit<VolumeObjectsResult, keyof VolumeResultTail> {
  const { rules, model, segments } = found
  const maxSlices = rules.maxSlices === Number.MAX_SAFE_INTEGER ? null : rules.maxSlices
  return {
    ...headOf(path, found),
    rules: { ...rules, maxSlices },
    objects: segments.map((segment) => objectOf(segment, model)),
  }
}

export function describeClasses(path: string, found: VolumeLabelMap): Omit<VolumeLabelsResult, keyof VolumeResultTail> {
  return {
    ...headOf(path, found),
    classes: found.classes.map(({ millilitres, ...each }) => ({ ...each, ml: millilitres })),
    labelReason: found.labelReason,
  }
}

function headOf(path: string, { volume, model, axis, window }: VolumeObjects | VolumeLabelMap): VolumeResultHead {
  const { shape, channels, spacing, warnings } = volume
  return {
    schema: 1,
    version: packageVersion(),
    volume: { path, shape, channels, spacing, warnings, axis, slices: volume.sliceCount(axis), window },
    model,
  }
}

function objectOf(object: VolumeObject, { semantic }: ModelInfo): VolumeObjectResult {
  const { prompts, class: named, probability, mask, millilitres, predictedIou, slices, stops } = object
  const label = named && { ...named, probability: probability! }
  return {
    prompt: prompts[0]!,
    label,
    labelReason: label ? null : semantic === 'untrained' ? 'untrained' : 'nothing',
    voxels: mask.count,
    ml: millilitres,
    predictedIou,
    slices: slices.map(({ slice, area, bbox, predictedIou, agreement, overlap, label }) => ({
      ...{ slice, area, bbox, predictedIou, agreement, overlap, label },
    })),
    stops,
  }
}

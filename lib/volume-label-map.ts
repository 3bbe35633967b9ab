import { setImmediate } from 'node:timers/promises'
import type { Call } from './call.js'
import type { ClassCode } from './classes.js'
import { unexpected } from './errors.js'
import { describedByClass } from './image-segmentation.js'
import { UNKNOWN_ID } from './label-map/regions.js'
import type { LabelledClass, LabelMap } from './label-map.js'
import type { ModelInfo } from './model.js'
import type { Hit } from './scene.js'
import type { Axis, SlicePlane } from './volume/axes.js'
import { millilitresOf } from './volume/millilitres.js'
import type { VolumeSegment, VolumeSegmentation } from './volume/segmentation.js'
import { VoxelMask } from './volume/voxel-mask.js'
import type { Volume, VolumeSlice } from './volume.js'
import type { CheckedConsistency, LabelStep } from './volume-label-map/options.js'
import { applyRegionRules, regionsOf } from './volume-label-map/regions.js'
import { type LabelValues, smoothedSlice } from './volume-label-map/smooth.js'
import type { AppliedWindow, WindowChoice } from './window.js'

/** A class that has voxels in a label map of a volume. */
export interface VolumeClass {
  /** Of its voxels in `data`, as in a {@link LabelMap}. */
  value: number
  id: string
  name: string
  codes: readonly ClassCode[]
  /** Each of its regions is an object. */
  countable: boolean
  voxels: number
  /** By the affine of the volume. */
  millilitres: number
  /** Mean over the pixels that the slices gave it, before they were made consistent; `null` for `unknown`. */
  confidence: number | null
}

/** How a volume is labelled. @internal */
export interface LabelSettings {
  volume: Volume
  model: ModelInfo
  axis: Axis
  choice: WindowChoice | undefined
  consistency: CheckedConsistency
  onProgress: ((step: LabelStep) => void) | undefined
}

interface Fields {
  volume: Volume
  model: ModelInfo
  axis: Axis
  window: AppliedWindow | null
  data: LabelValues
  classes: readonly VolumeClass[]
  labelReason: Hit['labelReason']
}

/** A volume divided among classes: every voxel has one value. Made by `model.labelVolume`. */
export class VolumeLabelMap {
  readonly volume: Volume
  readonly model: ModelInfo
  readonly axis: Axis
  /** How each slice was shown to the model; `null`: as it was. */
  readonly window: AppliedWindow | null
  /** One value a voxel, i fastest, then j, then k: 0 background, else as in {@link LabelMap.data}. */
  readonly data: LabelValues
  /** The classes that have voxels, by value. */
  readonly classes: readonly VolumeClass[]
  /** Why no class but `unknown` is there; `null` where one is. */
  readonly labelReason: Hit['labelReason']

  private constructor(fields: Fields) {
    this.volume = fields.volume
    this.model = fields.model
    this.axis = fields.axis
    this.window = fields.window
    this.data = fields.data
    this.classes = fields.classes
    this.labelReason = fields.labelReason
  }

  /** @internal */
  static async made(
    labelled: (slice: VolumeSlice) => Promise<LabelMap>,
    { volume, model, axis, choice, consistency, onProgress }: LabelSettings,
    { signal }: Call,
  ): Promise<VolumeLabelMap> {
    const total = volume.sliceCount(axis)
    const cut = (index: number) => volume.slice(axis, index, { ...(choice !== undefined && { window: choice }) })
    const slices: LabelValues[] = []
    const planes: SlicePlane[] = []
    const found = new Map<number, LabelledClass>()
    let window: AppliedWindow | null = null
    let labelReason: Hit['labelReason'] = null
    for (let index = 0; index < total; index++) {
      const slice = cut(index)
      const map = await labelled(slice)
      slices.push(map.data)
      planes.push(slice.plane)
      for (const each of map.classes) found.set(each.value, joined(found.get(each.value), each))
      window = slice.window
      labelReason = map.labelReason
      onProgress?.({ slice: index, done: index + 1, total })
    }

    const data = newValues(slices[0]!, volume)
    for (const [index, plane] of planes.entries()) {
      paint(data, volume, plane, smoothedSlice(slices, index, consistency.smoothing))
      await setImmediate()
      signal?.throwIfAborted()
    }
    const unknown = data instanceof Uint8Array ? 0xff : 0xffff
    for (const value of found.keys()) {
      if (value !== unknown) applyRegionRules(data, volume, value, unknown, consistency)
      await setImmediate()
      signal?.throwIfAborted()
    }
    const classes = classesOf(data, found, unknown, volume)
    const isNamed = classes.some(({ id }) => id !== UNKNOWN_ID)
    return new VolumeLabelMap({
      ...{ volume, model, axis, window, data, classes },
      labelReason: isNamed ? null : labelReason === 'untrained' ? 'untrained' : 'nothing',
    })
  }

  /** The voxels of a class, by its value; empty where it has none. */
  mask(value: number): VoxelMask {
    if (!Number.isInteger(value)) throw unexpected('INVALID_ARGUMENT', 'value', value, 'the value of a class')
    return VoxelMask.of(this.volume.shape, this.data, value)
  }

  /** As segments: one a class, or one a region where the class is countable. */
  toSegmentation(): VolumeSegmentation {
    const segments = this.classes.flatMap((found): VolumeSegment[] => {
      const whole = { ...describedByClass(found), mask: this.mask(found.value) }
      if (!found.countable) return [whole]
      const { counts, of } = regionsOf(whole.mask)
      return counts.map((_, i) => ({ ...whole, name: `${found.name} ${i + 1}`, mask: of(i) }))
    })
    return { volume: this.volume, segments, model: this.model }
  }
}

/** A class over the slices so far. */
function joined(known: LabelledClass | undefined, each: LabelledClass): LabelledClass {
  if (!known) return each
  const area = known.area + each.area
  if (each.confidence === null || known.confidence === null) return { ...known, area }
  return { ...known, area, confidence: (known.confidence * known.area + each.confidence * each.area) / area }
}

function newValues(like: LabelValues, { shape }: Volume): LabelValues {
  const voxels = shape[0] * shape[1] * shape[2]
  return like instanceof Uint8Array ? new Uint8Array(voxels) : new Uint16Array(voxels)
}

function paint(data: LabelValues, { shape }: Volume, { origin, right, down }: SlicePlane, values: LabelValues): void {
  const offsetOf = ([i, j, k]: SlicePlane['origin']) => i + shape[0] * (j + shape[1] * k)
  const width = shape[right.findIndex((part) => part !== 0)]!
  const [start, acrossStep, downStep] = [offsetOf(origin), offsetOf(right), offsetOf(down)]
  for (let at = 0, row = start; at < values.length; row += downStep) {
    for (let x = 0, to = row; x < width; x++, to += acrossStep) data[to] = values[at++]!
  }
}

function classesOf(
  data: LabelValues,
  found: ReadonlyMap<number, LabelledClass>,
  unknown: number,
  volume: Volume,
): VolumeClass[] {
  const counts = new Float64Array(unknown + 1)
  for (const value of data) counts[value]!++
  const values = [...counts.keys()].filter((value) => value > 0 && counts[value]! > 0)
  return values.map((value) => {
    const of = found.get(value)
    const voxels = counts[value]!
    return {
      value,
      id: of?.id ?? UNKNOWN_ID,
      name: of?.name ?? 'Unknown',
      codes: of?.codes ?? [],
      countable: of?.countable ?? false,
      voxels,
      millilitres: millilitresOf(volume, voxels),
      confidence: of?.confidence ?? null,
    }
  })
}

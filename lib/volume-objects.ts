import { CALL_OPTIONS, Call } from './call.js'
import type { NewClassCard } from './classes.js'
import { unexpected } from './errors.js'
import { describedByLabel } from './image-segmentation.js'
import type { ModelInfo } from './model.js'
import { checkOptions } from './options.js'
import { probabilitiesOf } from './probabilities.js'
import type { Prompt } from './prompts.js'
import { type Axis, planeOf } from './volume/axes.js'
import { millilitresOf } from './volume/millilitres.js'
import type { VolumeSegment, VolumeSegmentation } from './volume/segmentation.js'
import { VoxelMask } from './volume/voxel-mask.js'
import type { Volume } from './volume.js'
import { type Followed, type FollowSettings, follow, type Limit, type Start } from './volume-objects/follow.js'
import type { FollowedSlice } from './volume-objects/followed-slice.js'
import { type CheckedRules, type CorrectOptions, checkOnProgress } from './volume-objects/options.js'
import type { SliceModel, SliceScene } from './volume-objects/slice-model.js'
import { SliceScenes } from './volume-objects/slice-scenes.js'
import type { Stop } from './volume-objects/stop.js'
import {
  type AbsentMark,
  checkedMarks,
  checkKeys,
  checkSlice,
  isAmbiguous,
  type Marks,
  promptOf,
  type VolumePrompt,
} from './volume-objects/volume-prompts.js'
import type { AppliedWindow, WindowChoice } from './window.js'

/** An object of a volume, followed from slice to slice. */
export interface VolumeObject extends VolumeSegment {
  /** The first prompt and the corrections, by slice. */
  prompts: readonly (VolumePrompt | AbsentMark)[]
  /** The slices that it is on, by rising index. */
  slices: readonly FollowedSlice[]
  /** Where and why it ends, towards slice 0 and towards the last slice; `null` where no prompt is left. */
  stops: { low: Stop; high: Stop } | null
  /** By the affine of the volume. */
  millilitres: number
}

/** What does not change with corrections. @internal */
export interface ObjectsSettings {
  volume: Volume
  model: ModelInfo
  axis: Axis
  /** As it was chosen, for all slices. */
  choice: WindowChoice | undefined
  rules: CheckedRules
  classes: readonly (string | NewClassCard)[] | undefined
}

/** And what its slices are like. */
interface CutSettings extends ObjectsSettings {
  window: AppliedWindow | null
  size: { width: number; height: number }
}

/** What is known of an object; never changed in place. */
interface Track {
  /** By slice; `null`: the object is not there. */
  marks: ReadonlyMap<number, Marks | null>
  slices: ReadonlyMap<number, FollowedSlice>
  /** How the walks from each prompted slice ended. */
  stops: ReadonlyMap<number, Followed['stops']>
}

/**
 * Objects of a volume, followed from slice to slice. Made by `model.segmentVolume`. Immutable: a correction gives another
 * one, which shares what it did not touch.
 */
export class VolumeObjects implements VolumeSegmentation {
  readonly volume: Volume
  readonly model: ModelInfo
  readonly axis: Axis
  /** How each slice was shown to the model; `null`: as it was. */
  readonly window: AppliedWindow | null
  /** The rules that they were followed by, defaults filled in. */
  readonly rules: Readonly<CheckedRules>
  /** In the order of the prompts. One whose prompt found nothing has no voxel. */
  readonly segments: readonly VolumeObject[]
  readonly #tracks: readonly Track[]
  readonly #settings: CutSettings
  readonly #slices: SliceModel<SliceScene>

  private constructor(
    slices: SliceModel<SliceScene>,
    settings: CutSettings,
    tracks: readonly Track[],
    segments: readonly VolumeObject[],
  ) {
    const { volume, model, axis, window, rules } = settings
    this.volume = volume
    this.model = model
    this.axis = axis
    this.window = window
    this.rules = rules
    this.segments = segments
    this.#tracks = tracks
    this.#settings = settings
    this.#slices = slices
  }

  /** @internal */
  static async found(
    slices: SliceModel<SliceScene>,
    prompts: readonly VolumePrompt[],
    settings: ObjectsSettings,
    onProgress: FollowSettings['onProgress'],
    call: Call,
  ): Promise<VolumeObjects> {
    const { volume, axis, choice } = settings
    if (!Array.isArray(prompts) || prompts.length === 0) {
      throw unexpected('INVALID_PROMPT', 'prompts', prompts, 'a list of at least one { slice, box?, points? }')
    }
    const count = volume.sliceCount(axis)
    const { window, width, height } = volume.slice(axis, 0, { ...(choice !== undefined && { window: choice }) })
    const size = { width, height }
    const marked = prompts.map((prompt, i) => checkedMarks(prompt, `prompts[${i}]`, size, count))
    const starts = marked.map(({ slice, marks }, object): Start => {
      const limits = limitsOf([], slice, count)
      return { object, slice, prompt: promptOf(marks) as Prompt, multimask: isAmbiguous(marks), limits }
    })
    const followed = await walk(slices, starts, settings, onProgress, call)
    const tracks = marked.map(({ slice, marks }, i) => newTrack(slice, marks, followed[i]!))
    const segments = tracks.map((track, i) => describe(track, i, settings))
    return new VolumeObjects(slices, { ...settings, window, size }, tracks, segments)
  }

  /**
   * Corrects an object on one slice, and follows it anew from there to the next slices that were prompted or corrected, or
   * to where it ends; nothing else is looked at again. Points go to those that the slice has, and refine the mask that is
   * there; a box takes the place of one, and starts afresh. `absent`: the object is not on this slice, and what was
   * reached through it goes; nothing is looked at again for it.
   *
   * On the way to the next prompted slice, what was followed from there stays beyond the place where the object ends.
   *
   * @param object place in `segments`
   * @returns all objects, this one corrected; those here stay as they are
   * @throws SegSamError `INVALID_PROMPT`, `INVALID_ARGUMENT`, `QUEUE_FULL`, `DEADLINE_EXCEEDED`, `DISPOSED`,
   *   `OUT_OF_MEMORY`, `RUNTIME`
   */
  async correct(
    object: number,
    correction: VolumePrompt | AbsentMark,
    options: CorrectOptions = {},
  ): Promise<VolumeObjects> {
    checkOptions(options, ['onProgress', ...CALL_OPTIONS])
    checkOnProgress(options.onProgress)
    const track = this.#tracks[object]
    if (!track) throw unexpected('INVALID_ARGUMENT', 'object', object, `0 to ${this.#tracks.length - 1}`)
    if (isAbsent(correction)) return this.#replaced(object, this.#without(track, correction))

    const { volume, axis } = this
    const count = volume.sliceCount(axis)
    const { slice, marks: added } = checkedMarks(correction, 'correction', this.#settings.size, count)
    const before = track.marks.get(slice)
    const marks = { box: added.box ?? before?.box ?? null, points: [...(before?.points ?? []), ...added.points] }
    const known = track.slices.get(slice)
    const refines = !added.box && known !== undefined && known.area > 0
    const prompt = { ...promptOf(marks), ...(refines && { mask: known.logits.slice() }) } as Prompt
    const others = [...track.marks.keys()].filter((marked) => marked !== slice)
    const start: Start = {
      object,
      slice,
      prompt,
      multimask: isAmbiguous(marks) && !refines,
      limits: limitsOf(others, slice, count),
    }
    return Call.run(options, async (call) => {
      const [followed] = await walk(this.#slices, [start], this.#settings, options.onProgress, call)
      return this.#replaced(object, corrected(track, slice, marks, followed!))
    })
  }

  /**
   * The same segments with `fractions`, by the logits of their slices: what a fractional DICOM segmentation holds. A voxel
   * of the box of a mask has 0 on slices that the object is not on; one that the rules took from the mask keeps what the
   * model gave it.
   */
  withFractions(): VolumeSegmentation {
    const { volume, axis, model } = this
    const segments = this.segments.map((segment): VolumeSegment => {
      const fractions = segment.mask.valuesInBox(
        segment.slices.map(({ slice, logits, width, height }) => ({
          plane: planeOf(volume.affine, volume.shape, axis, slice),
          values: probabilitiesOf(logits, model, width, height),
        })),
      )
      return { ...segment, fractions }
    })
    return { volume, segments, model }
  }

  #without(track: Track, correction: AbsentMark): Track {
    checkKeys(correction, ['slice', 'absent'], 'correction')
    checkSlice(correction.slice, 'correction.slice', this.volume.sliceCount(this.axis))
    return corrected(track, correction.slice, null, null)
  }

  #replaced(object: number, track: Track): VolumeObjects {
    const segment = describe(track, object, this.#settings)
    return new VolumeObjects(
      this.#slices,
      this.#settings,
      this.#tracks.with(object, track),
      this.segments.with(object, segment),
    )
  }
}

async function walk(
  slices: SliceModel<SliceScene>,
  starts: readonly Start[],
  { volume, axis, choice, rules, classes }: ObjectsSettings,
  onProgress: FollowSettings['onProgress'],
  call: Call,
): Promise<Followed[]> {
  const scenes = new SliceScenes(slices, { volume, axis, window: choice }, call)
  try {
    return await follow(scenes, starts, { rules, classes, onProgress }, call)
  } finally {
    await scenes.end()
  }
}

function isAbsent(correction: VolumePrompt | AbsentMark): correction is AbsentMark {
  return typeof correction === 'object' && correction !== null && 'absent' in correction && correction.absent === true
}

/** The nearest prompted slices around one, or the ends of the volume. */
function limitsOf(prompted: readonly number[], slice: number, count: number): { low: Limit; high: Limit } {
  const low = Math.max(-1, ...prompted.filter((each) => each < slice))
  const high = Math.min(count, ...prompted.filter((each) => each > slice))
  return {
    low: { slice: low, reason: low < 0 ? 'end' : 'prompt' },
    high: { slice: high, reason: high === count ? 'end' : 'prompt' },
  }
}

function newTrack(slice: number, marks: Marks, followed: Followed): Track {
  const found = [followed.prompted, ...followed.slices].map((each) => [each.slice, each] as const)
  return { marks: new Map([[slice, marks]]), slices: new Map(found), stops: new Map([[slice, followed.stops]]) }
}

/** @param followed `null`: the object is not on the slice */
function corrected(track: Track, slice: number, marks: Marks | null, followed: Followed | null): Track {
  const reachedThrough = ({ slice: at, from }: FollowedSlice) =>
    from === slice || (from < slice && slice <= at) || (at <= slice && slice < from)
  const kept = [...track.slices].filter(([, each]) => !reachedThrough(each))
  const found = followed ? [followed.prompted, ...followed.slices] : []
  const stops = [...track.stops].map(([from, { low, high }]) => {
    const here: Stop = { reason: 'prompt', slice, value: null }
    if (from < slice && high.slice > slice) return [from, { low, high: here }] as const
    if (from > slice && low.slice < slice) return [from, { low: here, high }] as const
    return [from, { low, high }] as const
  })
  const without = new Map(stops)
  without.delete(slice)
  return {
    marks: new Map([...track.marks, [slice, marks] as const]),
    slices: new Map([...kept, ...found.map((each) => [each.slice, each] as const)]),
    stops: followed ? without.set(slice, followed.stops) : without,
  }
}

function describe({ marks, slices, stops }: Track, place: number, settings: ObjectsSettings): VolumeObject {
  const { volume, axis } = settings
  const found = [...slices.values()].filter(({ area }) => area > 0).sort((a, b) => a.slice - b.slice)
  const named = nameOf(found)
  const mask = VoxelMask.ofSlices(
    volume.shape,
    found.map((each) => ({ plane: planeOf(volume.affine, volume.shape, axis, each.slice), mask: each.mask })),
  )
  return {
    ...describedByLabel(named, place + 1),
    predictedIou: meanOf(found, ({ predictedIou }) => predictedIou),
    mask,
    prompts: [...marks].sort(([a], [b]) => a - b).map(([slice, each]) => markOf(slice, each)),
    slices: found,
    stops: outerStops(stops),
    millilitres: millilitresOf(volume, mask.count),
  }
}

function markOf(slice: number, marks: Marks | null): VolumePrompt | AbsentMark {
  return marks ? { slice, ...promptOf(marks) } : { slice, absent: true }
}

/** Those of the lowest and of the highest slice that the object was prompted on. */
function outerStops(stops: Track['stops']): VolumeObject['stops'] {
  const prompted = [...stops.keys()].sort((a, b) => a - b)
  if (prompted.length === 0) return null
  return { low: stops.get(prompted[0]!)!.low, high: stops.get(prompted.at(-1)!)!.high }
}

/** The class that most pixels were named by, each counting as its slice is sure of it. */
function nameOf(found: readonly FollowedSlice[]) {
  const votes = new Map<string, number>()
  for (const { label, area } of found) {
    if (label) votes.set(label.id, (votes.get(label.id) ?? 0) + label.probability * area)
  }
  const [id] = [...votes].reduce<[string | null, number]>((best, vote) => (vote[1] > best[1] ? vote : best), [null, 0])
  const label = found.find((each) => each.label?.id === id)?.label
  if (!label || id === null) return null
  return { ...label, probability: meanOf(found, (each) => (each.label?.id === id ? each.label.probability : 0))! }
}

/** Over the pixels of all slices; `null` where there is none. */
function meanOf(found: readonly FollowedSlice[], value: (each: FollowedSlice) => number): number | null {
  const pixels = found.reduce((sum, { area }) => sum + area, 0)
  return pixels === 0 ? null : found.reduce((sum, each) => sum + each.area * value(each), 0) / pixels
}

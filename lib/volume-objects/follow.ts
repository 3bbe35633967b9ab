import type { Call } from '../call.js'
import type { NewClassCard } from '../classes.js'
import type { Mask } from '../mask.js'
import type { Prompt } from '../prompts.js'
import type { Hit } from '../scene.js'
import type { VolumeSlice } from '../volume.js'
import { carriedPrompt, touchingPieces } from './carry.js'
import { FollowedSlice } from './followed-slice.js'
import type { CheckedRules } from './options.js'
import type { SliceScene } from './slice-model.js'
import type { SliceScenes } from './slice-scenes.js'
import { type Stop, stopBefore } from './stop.js'

/** An object on the slice that it is prompted on, and how far it may be followed. */
export interface Start {
  /** Place in the list of objects. */
  object: number
  slice: number
  prompt: Prompt
  multimask: boolean
  /** The slices around that it must not enter: prompted ones, or -1 and the number of slices. */
  limits: { low: Limit; high: Limit }
}

export interface Limit {
  slice: number
  reason: 'prompt' | 'end'
}

/** What was found of an object from one prompted slice. */
export interface Followed {
  prompted: FollowedSlice
  /** Others than `prompted`, in both directions. */
  slices: FollowedSlice[]
  stops: { low: Stop; high: Stop }
}

/** What `onProgress` is told. */
export interface FollowStep {
  /** Place of the object in the list of prompts. */
  object: number
  /** The slice that was looked at. */
  slice: number
  /** The object there; `null` where it had ended before. */
  found: FollowedSlice | null
  /** Why it had. */
  stop: Stop | null
  /** Objects that go on from this slice in the direction of the sweep, this one among them if it does. */
  following: number
}

export interface FollowSettings {
  rules: CheckedRules
  classes: readonly (string | NewClassCard)[] | undefined
  onProgress: ((step: FollowStep) => void) | undefined
}

/** An object on its way in one direction. */
interface Walk {
  start: Start
  step: 1 | -1
  prompted: FollowedSlice
  last: FollowedSlice
  slices: FollowedSlice[]
  stop: Stop | null
}

/**
 * Follows objects from slice to slice: first towards higher numbers, then towards lower ones. In each direction a slice is
 * encoded once, for all the objects that are there, and prompts of one form are decoded together.
 */
export async function follow(
  scenes: SliceScenes<SliceScene>,
  starts: readonly Start[],
  settings: FollowSettings,
  call: Call,
): Promise<Followed[]> {
  const up: Walk[] = []
  const waiting = new Set(starts)
  for (let at = nearest([...waiting].map(sliceOf), 1); at !== null; at = nearest(comingOf(up, waiting), 1)) {
    const begun = [...waiting].filter(({ slice }) => slice === at)
    for (const start of begun) waiting.delete(start)
    up.push(...(await visit(scenes, at, { step: 1, walks: up, begun, waiting }, settings, call)))
  }

  const down = up.map(({ start, prompted }) => newWalk(start, -1, prompted, settings.rules))
  const none = { begun: [], waiting: new Set<Start>() }
  for (let at = nearest(comingOf(down), -1); at !== null; at = nearest(comingOf(down), -1)) {
    await visit(scenes, at, { step: -1, walks: down, ...none }, settings, call)
  }
  return starts.map((start) => {
    const [higher, lower] = [up, down].map((walks) => walks.find((walk) => walk.start === start)!) as [Walk, Walk]
    return {
      prompted: higher.prompted,
      slices: [...lower.slices, ...higher.slices],
      stops: { low: lower.stop!, high: higher.stop! },
    }
  })
}

interface Visit {
  step: 1 | -1
  walks: readonly Walk[]
  /** What is prompted on this slice. */
  begun: readonly Start[]
  /** What is prompted on slices to come. */
  waiting: ReadonlySet<Start>
}

/** Looks for all objects of one slice. @returns the walks that begin there */
async function visit(
  scenes: SliceScenes<SliceScene>,
  at: number,
  { step, walks, begun, waiting }: Visit,
  { rules, classes, onProgress }: FollowSettings,
  call: Call,
): Promise<Walk[]> {
  const going = walks.filter((walk) => comingSlice(walk) === at)
  const asked = [...begun, ...going.map((walk) => ({ prompt: carriedPrompt(walk.last, rules), multimask: false }))]
  const others = walks.filter((walk) => !going.includes(walk))
  const onward = [...begun, ...going.map(({ start }) => start)]
    .filter((start) => limitOf(start, step, rules).slice !== at + step)
    .map(() => at + step)
  const expected = nearest([...onward, ...comingOf(others, waiting)], step)
  const { image, hits } = await scenes.with(at, expected, async (scene, image) => {
    return { image, hits: await decoded(scene, asked, { rules, classes }, call) }
  })

  const steps: Omit<FollowStep, 'following'>[] = []
  const newWalks = begun.map((start, i) => {
    const hit = hits[i]!
    const prompted = new FollowedSlice(image, hit.mask, hit, null, null)
    const walk = newWalk(start, step, prompted, rules)
    steps.push({ object: start.object, slice: at, found: prompted, stop: walk.stop })
    return walk
  })
  for (const [i, walk] of going.entries()) {
    const next = nextSlice(image, walk, hits[begun.length + i]!, rules)
    const stop = stopBefore(next, walk.last, walk.prompted, rules)
    if (!stop) {
      walk.last = next
      walk.slices.push(next)
    }
    walk.stop = stop ?? limitReached(walk.start, at + step, step, rules)
    steps.push({ object: walk.start.object, slice: at, found: stop ? null : next, stop: walk.stop })
  }
  const following = [...walks, ...newWalks].filter(({ stop }) => stop === null).length
  for (const each of steps) onProgress?.({ ...each, following })
  return newWalks
}

function nextSlice(image: VolumeSlice, { last, prompted }: Walk, hit: Hit, { touching }: CheckedRules): FollowedSlice {
  const before = last.mask
  const mask = touching ? touchingPieces(hit.mask, before) : hit.mask
  return new FollowedSlice(image, mask, hit, prompted, overlapOf(mask, before))
}

/** That of two empty masks is of no use here. */
function overlapOf(mask: Mask, before: Mask): number {
  return mask.area === 0 ? 0 : mask.iou(before)
}

function newWalk(start: Start, step: 1 | -1, prompted: FollowedSlice, rules: CheckedRules): Walk {
  const next = start.slice + step
  const stop =
    prompted.area === 0 ? { reason: 'empty' as const, slice: next, value: 0 } : limitReached(start, next, step, rules)
  return { start, step, prompted, last: prompted, slices: [], stop }
}

function limitReached(start: Start, next: number, step: 1 | -1, rules: CheckedRules): Stop | null {
  const { slice, reason } = limitOf(start, step, rules)
  return next === slice ? { reason, slice, value: null } : null
}

/** The first slice that a walk does not enter. */
function limitOf({ slice, limits }: Start, step: 1 | -1, { maxSlices }: CheckedRules): Pick<Stop, 'slice' | 'reason'> {
  const limit = step > 0 ? limits.high : limits.low
  if (Math.abs(limit.slice - slice) <= maxSlices + 1) return limit
  return { slice: slice + step * (maxSlices + 1), reason: 'maxSlices' }
}

/** Hits in the order of the prompts. One call for those with three masks, one for those with one. */
async function decoded(
  scene: SliceScene,
  asked: readonly Pick<Start, 'prompt' | 'multimask'>[],
  { rules, classes }: Pick<FollowSettings, 'rules' | 'classes'>,
  call: Call,
): Promise<Hit[]> {
  const hits = new Array<Hit>(asked.length)
  for (const multimask of [true, false]) {
    const places = asked.flatMap((each, place) => (each.multimask === multimask ? [place] : []))
    if (places.length === 0) continue
    const prompts = places.map((place) => asked[place]!.prompt)
    const options = { multimask, threshold: rules.threshold, ...(classes && { classes }) }
    const found = await scene.segment(prompts, options, call)
    for (const [i, place] of places.entries()) hits[place] = found[i]!
  }
  return hits
}

function sliceOf({ slice }: { slice: number }): number {
  return slice
}

/** The slice that a walk enters next; `null` where it has ended. */
function comingSlice({ stop, last, step }: Walk): number | null {
  return stop ? null : last.slice + step
}

function comingOf(walks: readonly Walk[], waiting: Iterable<Start> = []): number[] {
  return [...walks.map(comingSlice).filter((slice) => slice !== null), ...Array.from(waiting, sliceOf)]
}

/** The first in the direction of a sweep; `null`: there is none. */
function nearest(slices: readonly number[], step: 1 | -1): number | null {
  if (slices.length === 0) return null
  return step > 0 ? Math.min(...slices) : Math.max(...slices)
}

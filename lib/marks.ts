import { SegSamError, unexpected } from './errors.js'
import { boxAround, checkedLasso, type LogitsFrame, lassoLogits } from './lasso.js'
import { type Box, checkedBox, checkedPoint, type MaskLogits, type Point, type Prompt } from './prompts.js'
import { checkedScribble, type Path, type Scribble, scribblePoints } from './scribble.js'
import type { SessionStep } from './session-log.js'

/** What a user has drawn to say which object is meant. */
export interface Marks {
  readonly points: readonly Point[]
  readonly scribbles: readonly Scribble[]
  readonly box: Box | null
  readonly lasso: Path | null
}

/** A step as a caller gives it, labels left out where they are 1. */
export type NewStep =
  | Exclude<SessionStep, { action: 'addPoint' | 'addScribble' }>
  | { action: 'addPoint'; point: Point }
  | { action: 'addScribble'; scribble: Scribble }

/** A step that changes marks. */
export type MarkStep = Exclude<SessionStep, { action: 'undo' | 'redo' }>

export const NO_MARKS: Marks = Object.freeze({
  points: Object.freeze([]),
  scribbles: Object.freeze([]),
  box: null,
  lasso: null,
})

/**
 * A frozen copy of a step, its coordinates in the image and its labels filled in.
 *
 * @throws SegSamError `INVALID_PROMPT`
 */
export function checkedStep(step: NewStep, size: { width: number; height: number }): SessionStep {
  switch (step.action) {
    case 'addPoint':
      return Object.freeze({ ...step, point: Object.freeze(checkedPoint(step.point, 'point', size)) })
    case 'addScribble':
      return Object.freeze({ ...step, scribble: checkedScribble(step.scribble, 'scribble', size) })
    case 'setBox':
      return Object.freeze({ ...step, box: Object.freeze(checkedBox(step.box, 'box', size)) })
    case 'setLasso':
      return Object.freeze({ ...step, lasso: checkedLasso(step.lasso, 'lasso', size) })
    default:
      return Object.freeze({ ...step })
  }
}

/** @throws SegSamError `INVALID_ARGUMENT` where the step removes what is not there */
export function marked(marks: Marks, step: MarkStep): Marks {
  switch (step.action) {
    case 'addPoint':
      return changed(marks, { points: [...marks.points, step.point] })
    case 'removePoint':
      return changed(marks, { points: without(marks.points, step.index, 'points') })
    case 'addScribble':
      return changed(marks, { scribbles: [...marks.scribbles, step.scribble] })
    case 'removeScribble':
      return changed(marks, { scribbles: without(marks.scribbles, step.index, 'scribbles') })
    case 'setBox':
      return changed(marks, { box: step.box })
    case 'removeBox':
      if (!marks.box) throw nothingToRemove('box')
      return changed(marks, { box: null })
    case 'setLasso':
      return changed(marks, { lasso: step.lasso })
    case 'removeLasso':
      if (!marks.lasso) throw nothingToRemove('lasso')
      return changed(marks, { lasso: null })
    case 'reset':
      return NO_MARKS
  }
}

/** Whether a step adds to what was said before and takes nothing back, so that the mask so far may be refined. */
export function refines(marks: Marks, step: MarkStep): boolean {
  return step.action === 'addPoint' || step.action === 'addScribble' || (step.action === 'setBox' && !marks.box)
}

/**
 * The prompt that marks make: clicks, then the clicks of the scribbles; the box, else that around the lasso; the logits
 * so far, else those of the lasso. `null` where nothing is marked.
 */
export function promptOf(marks: Marks, previous: MaskLogits | null, frame: LogitsFrame): Prompt | null {
  const points = [...marks.points, ...marks.scribbles.flatMap((scribble) => scribblePoints(scribble, frame))]
  const box = marks.box ?? (marks.lasso && boxAround(marks.lasso))
  const mask = previous ?? (marks.lasso && lassoLogits(marks.lasso, frame))
  const withMask = mask ? { mask } : {}
  if (box) return { box, ...(points.length > 0 ? { points } : {}), ...withMask }
  return points.length > 0 ? { points, ...withMask } : null
}

function changed(marks: Marks, change: Partial<Marks>): Marks {
  for (const value of Object.values(change)) Object.freeze(value)
  return Object.freeze({ ...marks, ...change })
}

function without<T>(list: readonly T[], index: number, what: 'points' | 'scribbles'): readonly T[] {
  if (Number.isInteger(index) && index >= 0 && index < list.length) return list.toSpliced(index, 1)
  const allowed = list.length > 0 ? `a place in session.marks.${what}, 0 to ${list.length - 1}` : 'none'
  throw unexpected('INVALID_ARGUMENT', 'index', index, allowed, list.length > 0 ? undefined : `There are no ${what}.`)
}

function nothingToRemove(what: 'box' | 'lasso') {
  return new SegSamError('INVALID_ARGUMENT', `There is no ${what} to remove: session.marks.${what} is null.`)
}

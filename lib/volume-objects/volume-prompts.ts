import { SegSamError, unexpected } from '../errors.js'
import { type Box, checkedBox, checkedPoint, type Point } from '../prompts.js'
import type { VolumeSlice } from '../volume.js'

/** Says which object is meant, on one slice of a volume, in pixels of that slice. */
export interface VolumePrompt {
  /** Index of the slice along the axis, from 0. */
  slice: number
  box?: Box | undefined
  points?: readonly Point[] | undefined
}

/** Says that an object is not on a slice. */
export interface AbsentMark {
  slice: number
  absent: true
}

/** What was marked on a slice, copied; no marks at all: the object is not there. */
export interface Marks {
  box: Box | null
  points: readonly Point[]
}

/** @throws SegSamError `INVALID_PROMPT` */
export function checkedMarks(
  prompt: VolumePrompt,
  name: string,
  size: Pick<VolumeSlice, 'width' | 'height'>,
  count: number,
): { slice: number; marks: Marks } {
  checkKeys(prompt, ['slice', 'box', 'points'], name)
  const { slice, box, points } = prompt
  checkSlice(slice, `${name}.slice`, count)
  if (box === undefined && points === undefined) {
    throw unexpected('INVALID_PROMPT', name, prompt, 'a box, or points, or both on one slice')
  }
  if (points !== undefined && !(Array.isArray(points) && points.length > 0)) {
    throw unexpected('INVALID_PROMPT', `${name}.points`, points, 'a list of at least one point { x, y, label }')
  }
  return {
    slice,
    marks: {
      box: box === undefined ? null : checkedBox(box, `${name}.box`, size),
      points: (points ?? []).map((point, i) => checkedPoint(point, `${name}.points[${i}]`, size)),
    },
  }
}

/** @throws SegSamError `INVALID_PROMPT` */
export function checkSlice(slice: unknown, name: string, count: number): void {
  if (Number.isSafeInteger(slice) && (slice as number) >= 0 && (slice as number) < count) return
  throw unexpected('INVALID_PROMPT', name, slice, `0 to ${count - 1}`)
}

/** @throws SegSamError `INVALID_PROMPT` */
export function checkKeys(prompt: object, keys: readonly string[], name: string): void {
  if (typeof prompt !== 'object' || prompt === null || Array.isArray(prompt)) {
    throw unexpected('INVALID_PROMPT', name, prompt, `an object with ${keys.join(', ')}`)
  }
  const stray = Object.keys(prompt).find((key) => !keys.includes(key))
  if (stray !== undefined) throw new SegSamError('INVALID_PROMPT', `${name} has ${stray}; allowed: ${keys.join(', ')}.`)
}

export function promptOf({ box, points }: Marks) {
  return { ...(box && { box }), ...(points.length > 0 && { points }) }
}

/** A lone click may mean the whole or a part, as in a session. */
export function isAmbiguous({ box, points }: Marks): boolean {
  return !box && points.length === 1
}

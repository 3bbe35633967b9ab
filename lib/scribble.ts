import { unexpected } from './errors.js'
import { checkedPoint, type Point } from './prompts.js'

/** A line through these points, in pixels of the original image. */
export type Path = readonly (readonly [x: number, y: number])[]

/** A freehand line over the object, or over what does not belong to it. */
export interface Scribble {
  /** At least one point, all inside the image as those of a {@link Point}. */
  path: Path
  /** 1 (default): part of the object. 0: not part of it. */
  label?: 0 | 1 | undefined
}

/** The most points that a scribble becomes. */
export const SCRIBBLE_POINTS = 8

/** Points of a scribble are no closer than this part of the image's long side. */
const SPACING = 1 / 32

interface Size {
  width: number
  height: number
}

/** @throws SegSamError `INVALID_PROMPT` */
export function checkedScribble(scribble: Scribble, name: string, size: Size): Required<Scribble> & { label: 0 | 1 } {
  if (typeof scribble !== 'object' || scribble === null || Array.isArray(scribble)) {
    throw unexpected('INVALID_PROMPT', name, scribble, '{ path, label }', 'The path is a list of points [x, y].')
  }
  const { path, label = 1 } = scribble
  if (!Array.isArray(path) || path.length === 0) {
    throw unexpected('INVALID_PROMPT', `${name}.path`, path, 'a list of at least one point [x, y]')
  }
  const points = path.map((point, i) => {
    const [x, y] = checkedPair(point, `${name}.path[${i}]`)
    checkedPoint({ x, y }, `${name}.path[${i}]`, size)
    return Object.freeze([x, y] as const)
  })
  if (label !== 0 && label !== 1) {
    throw unexpected('INVALID_PROMPT', `${name}.label`, label, '1 (part of the object) or 0 (not part of it)')
  }
  return Object.freeze({ path: Object.freeze(points), label })
}

/** @throws SegSamError `INVALID_PROMPT` */
export function checkedPair(point: unknown, name: string): readonly [number, number] {
  if (Array.isArray(point) && point.length === 2) return point as [number, number]
  throw unexpected('INVALID_PROMPT', name, point, 'two numbers [x, y]')
}

/**
 * The clicks that stand for a scribble: the middles of n pieces of equal length, n as many as the spacing allows, from
 * one to {@link SCRIBBLE_POINTS}. The ends of a line, where a hand strays most, are thereby left out.
 */
export function scribblePoints({ path, label }: Scribble, { width, height }: Size): Point[] {
  const starts: number[] = [0]
  for (let i = 1; i < path.length; i++) starts.push(starts[i - 1]! + distance(path[i - 1]!, path[i]!))
  const length = starts.at(-1)!
  const spacing = SPACING * Math.max(width, height)
  const count = Math.min(SCRIBBLE_POINTS, Math.max(1, Math.floor(length / spacing)))

  const points: Point[] = []
  let segment = 0
  for (let k = 0; k < count; k++) {
    const at = ((k + 0.5) * length) / count
    while (segment < path.length - 2 && starts[segment + 1]! < at) segment++
    const [from, to] = [path[segment]!, path[segment + 1] ?? path[segment]!]
    const pieceLength = (starts[segment + 1] ?? length) - starts[segment]!
    const part = pieceLength > 0 ? Math.min(1, (at - starts[segment]!) / pieceLength) : 0
    points.push({ x: from[0] + part * (to[0] - from[0]), y: from[1] + part * (to[1] - from[1]), label })
  }
  return points
}

function distance([ax, ay]: readonly [number, number], [bx, by]: readonly [number, number]): number {
  return Math.hypot(bx - ax, by - ay)
}

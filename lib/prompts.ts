import type { PromptBatch } from '../binding.js'
import { type SegSamError, unexpected } from './errors.js'

/**
 * A click, in pixels of the original image: x right, y down, (0, 0) the centre of the top-left pixel.
 * It lies inside the image: -0.5 <= x < width - 0.5, -0.5 <= y < height - 0.5.
 */
export interface Point {
  x: number
  y: number
  /** 1 (default): part of the object. 0: not part of it. */
  label?: 0 | 1 | undefined
}

/**
 * Corners in pixels of the original image, x0 < x1 and y0 < y1, inside the image: from -0.5 (its left or top edge)
 * to width - 0.5 or height - 0.5.
 */
export type Box = readonly [x0: number, y0: number, x1: number, y1: number]

/**
 * Low-resolution logits of an earlier hit (`hit.logits`), row-major, `model.info.maskSize` squared long.
 * With them the model refines that mask instead of starting afresh.
 */
export type MaskLogits = Float32Array

export interface PointPrompt {
  /** At least one. */
  points: readonly Point[]
  box?: undefined
  mask?: MaskLogits | undefined
}

export interface BoxPrompt {
  box: Box
  /** Clicks that say more about the object in the box. */
  points?: readonly Point[] | undefined
  mask?: MaskLogits | undefined
}

export interface MaskPrompt {
  mask: MaskLogits
  points?: undefined
  box?: undefined
}

/** Says which object is meant. Each prompt of a call is one object. */
export type Prompt = PointPrompt | BoxPrompt | MaskPrompt

/** Prompts of one shape, which one decode takes together. */
export interface PromptGroup {
  /** Places of these prompts in the caller's list. */
  indices: number[]
  batch: PromptBatch
}

export interface Frame {
  width: number
  height: number
  maskSize: number
}

type Size = Pick<Frame, 'width' | 'height'>

interface EncodedPrompt {
  coordinates: number[]
  labels: number[]
  mask: MaskLogits | null
}

/**
 * Validates prompts and groups them by their number of points and whether they have a mask: padding a prompt to the
 * length of its neighbours would change its result.
 *
 * @throws SegSamError `INVALID_PROMPT`
 */
export function groupPrompts(prompts: readonly Prompt[], frame: Frame): PromptGroup[] {
  if (!Array.isArray(prompts) || prompts.length === 0) {
    throw invalid('prompts', prompts, 'a list of at least one prompt', 'Pass [{ box: [x0, y0, x1, y1] }], for example.')
  }
  const groups = new Map<string, { indices: number[]; members: EncodedPrompt[] }>()
  for (const [index, prompt] of prompts.entries()) {
    const encoded = encodePrompt(prompt, `prompts[${index}]`, frame)
    const shape = `${encoded.labels.length} ${encoded.mask !== null}`
    const group = groups.get(shape) ?? { indices: [], members: [] }
    group.indices.push(index)
    group.members.push(encoded)
    groups.set(shape, group)
  }
  return [...groups.values()].map(({ indices, members }) => ({ indices, batch: toBatch(members, frame.maskSize) }))
}

function toBatch(members: EncodedPrompt[], maskSize: number): PromptBatch {
  const area = maskSize * maskSize
  let masks: Float32Array | null = null
  if (members[0]!.mask) {
    masks = new Float32Array(members.length * area)
    for (const [i, { mask }] of members.entries()) masks.set(mask!, i * area)
  }
  return {
    count: members.length,
    pointsPerPrompt: members[0]!.labels.length,
    points: Float32Array.from(members.flatMap(({ coordinates }) => coordinates)),
    labels: Int32Array.from(members.flatMap(({ labels }) => labels)),
    masks,
  }
}

const PADDING = -1
const TOP_LEFT = 2
const BOTTOM_RIGHT = 3

/** SAM's order: the points, then the box's corners or, without a box, one padding point. */
function encodePrompt(prompt: Prompt, name: string, frame: Frame): EncodedPrompt {
  if (typeof prompt !== 'object' || prompt === null || Array.isArray(prompt)) {
    throw invalid(name, prompt, 'an object with points, box or mask', 'For a box write { box: [x0, y0, x1, y1] }.')
  }
  for (const key of Object.keys(prompt)) {
    if (key !== 'points' && key !== 'box' && key !== 'mask') throw invalid(`a key of ${name}`, key, 'points, box, mask')
  }
  const { points, box, mask } = prompt
  if (points === undefined && box === undefined && mask === undefined) {
    throw invalid(name, prompt, 'at least one of points, box and mask')
  }

  const coordinates: number[] = []
  const labels: number[] = []
  if (points !== undefined) {
    if (!Array.isArray(points) || points.length === 0) {
      throw invalid(
        `${name}.points`,
        points,
        'a list of at least one point { x, y, label }',
        'For example [{ x: 93, y: 65 }]. Leave the key out where there is none.',
      )
    }
    for (const [i, point] of points.entries()) {
      const { x, y, label } = checkedPoint(point, `${name}.points[${i}]`, frame)
      coordinates.push(x, y)
      labels.push(label)
    }
  }
  if (box !== undefined) {
    coordinates.push(...checkedBox(box, `${name}.box`, frame))
    labels.push(TOP_LEFT, BOTTOM_RIGHT)
  } else {
    coordinates.push(0, 0)
    labels.push(PADDING)
  }
  return { coordinates, labels, mask: mask === undefined ? null : checkedLogits(mask, `${name}.mask`, frame.maskSize) }
}

/** @throws SegSamError `INVALID_PROMPT` */
export function checkedPoint(point: Point, name: string, { width, height }: Size): Required<Point> & { label: 0 | 1 } {
  if (typeof point !== 'object' || point === null || !('x' in point && 'y' in point)) {
    throw invalid(name, point, 'an object { x, y, label }', pointExample(point))
  }
  for (const key of Object.keys(point)) {
    if (key !== 'x' && key !== 'y' && key !== 'label') throw invalid(`a key of ${name}`, key, 'x, y, label')
  }
  const { x, y, label = 1 } = point
  if (!isNumber(x) || x < -0.5 || x >= width - 0.5)
    throw outside(`x of ${name}`, x, `-0.5 <= x < ${width - 0.5}`, { width, height })
  if (!isNumber(y) || y < -0.5 || y >= height - 0.5)
    throw outside(`y of ${name}`, y, `-0.5 <= y < ${height - 0.5}`, { width, height })
  if (label !== 0 && label !== 1)
    throw invalid(`label of ${name}`, label, '1 (part of the object) or 0 (not part of it)')
  return { x, y, label }
}

/** With the numbers of a point that was given as a pair. */
function pointExample(point: unknown): string {
  const isPair = Array.isArray(point) && point.length > 1 && isNumber(point[0]) && isNumber(point[1])
  const [x, y] = isPair ? point : [93, 65]
  return `For example { x: ${x}, y: ${y} }, or { x: ${x}, y: ${y}, label: 0 } for what is not part of the object.`
}

/** @throws SegSamError `INVALID_PROMPT` */
export function checkedBox(box: Box, name: string, { width, height }: Size): Box {
  if (!Array.isArray(box) || box.length !== 4) {
    throw invalid(name, box, 'a list of four numbers [x0, y0, x1, y1]', 'For example [83, 87, 105, 117].')
  }
  const [x0, y0, x1, y1] = box as unknown as Box
  const ends = { x0: [x0, width], y0: [y0, height], x1: [x1, width], y1: [y1, height] } as const
  for (const [end, [value, side]] of Object.entries(ends)) {
    if (!isNumber(value) || value < -0.5 || value > side - 0.5) {
      throw outside(`${end} of ${name}`, value, `-0.5 to ${side - 0.5}`, { width, height })
    }
  }
  if (!(x0 < x1 && y0 < y1)) {
    throw invalid(
      name,
      box,
      'x0 < x1 and y0 < y1',
      'The order is [x0, y0, x1, y1], not [x, y, width, height]; one pixel (x, y) is [x - 0.5, y - 0.5, x + 0.5, y + 0.5].',
    )
  }
  return [x0, y0, x1, y1]
}

/** @throws SegSamError `INVALID_PROMPT` */
export function checkedLogits(mask: MaskLogits, name: string, maskSize: number): MaskLogits {
  const length = maskSize * maskSize
  if (!(mask instanceof Float32Array) || mask.length !== length) {
    throw invalid(
      name,
      mask,
      `a Float32Array of ${maskSize} x ${maskSize} = ${length} logits`,
      'Pass the logits of an earlier hit, not its binary mask. A buffer that was transferred has length 0.',
    )
  }
  const bad = mask.findIndex((logit) => !Number.isFinite(logit))
  if (bad >= 0) throw invalid(`${name}[${bad}]`, mask[bad], 'finite logits')
  return mask
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

function outside(name: string, value: unknown, range: string, { width, height }: Size) {
  return invalid(
    name,
    value,
    `a number in the image of ${width} x ${height} pixels, ${range}`,
    'Coordinates are pixels of the original image, (0, 0) the centre of the top-left pixel.',
  )
}

function invalid(what: string, got: unknown, allowed: string, remedy?: string): SegSamError {
  return unexpected('INVALID_PROMPT', what, got, allowed, remedy)
}

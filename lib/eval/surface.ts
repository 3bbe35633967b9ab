import type { Mask } from '../mask.js'

/** How well two outlines agree. */
export interface SurfaceScores {
  /** Normalised surface distance: the share of both outlines that lies within the tolerance of the other, 0 to 1. */
  nsd: number
  /** Robust Hausdorff distance: 95 % of each outline lie nearer to the other than this, in the unit of the spacing. */
  hd95: number
}

/** Width and height of a pixel. */
export type Spacing = readonly [x: number, y: number]

/** A piece of outline at a corner of pixels, as marching squares draws it through the four pixels around. */
interface Outline {
  /** Row-major places in the grid of corners. */
  places: number[]
  /** Of the piece, in the unit of the spacing. */
  lengths: number[]
}

/** The corners of the pixels around two masks. */
interface Grid {
  left: number
  top: number
  width: number
  height: number
}

/**
 * Normalised surface distance (Nikolov et al. 2018, arXiv 1809.04430) and robust Hausdorff distance of two masks of the
 * same size, defined as in DeepMind's `surface-distance`, which MedSAM's evaluation uses: outlines are pieces of marching
 * squares at the corners of pixels, weighted by their length; distances are Euclidean between those corners.
 *
 * Against an empty mask `nsd` is 0 and `hd95` the diagonal of the image; of two empty masks they are 1 and 0.
 */
export function surfaceScores(truth: Mask, found: Mask, spacing: Spacing, tolerance: number): SurfaceScores {
  if (!truth.bbox && !found.bbox) return { nsd: 1, hd95: 0 }
  if (!truth.bbox || !found.bbox) {
    return { nsd: 0, hd95: Math.hypot(truth.width * spacing[0], truth.height * spacing[1]) }
  }
  const grid = gridAround(truth.bbox, found.bbox)
  const [a, b] = [outlineOf(truth, grid, spacing), outlineOf(found, grid, spacing)]
  const [toA, toB] = [distancesTo(a.places, grid, spacing), distancesTo(b.places, grid, spacing)]
  const aToB = a.places.map((place) => toB[place]!)
  const bToA = b.places.map((place) => toA[place]!)
  const near = lengthWithin(aToB, a.lengths, tolerance) + lengthWithin(bToA, b.lengths, tolerance)
  return {
    nsd: near / (sum(a.lengths) + sum(b.lengths)),
    hd95: Math.max(percentile(aToB, a.lengths, 0.95), percentile(bToA, b.lengths, 0.95)),
  }
}

type BoundingBox = NonNullable<Mask['bbox']>

function gridAround(a: BoundingBox, b: BoundingBox): Grid {
  const left = Math.min(a[0], b[0])
  const top = Math.min(a[1], b[1])
  return { left, top, width: Math.max(a[2], b[2]) - left + 2, height: Math.max(a[3], b[3]) - top + 2 }
}

/** The corner (x, y) of the grid is the top-left one of the pixel (left + x, top + y). */
function outlineOf(mask: Mask, { left, top, width, height }: Grid, spacing: Spacing): Outline {
  const lengths = pieceLengths(spacing)
  const outline: Outline = { places: [], lengths: [] }
  const at = (x: number, y: number) =>
    x >= 0 && y >= 0 && x < mask.width && y < mask.height && mask.data[y * mask.width + x] ? 1 : 0
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const [x, y] = [left + column, top + row]
      const around = 8 * at(x - 1, y - 1) + 4 * at(x, y - 1) + 2 * at(x - 1, y) + at(x, y)
      if (around === 0 || around === 15) continue
      outline.places.push(row * width + column)
      outline.lengths.push(lengths[around]!)
    }
  }
  return outline
}

/** By the four pixels around a corner, read as bits: 8 top-left, 4 top-right, 2 bottom-left, 1 bottom-right. */
function pieceLengths([x, y]: Spacing): number[] {
  const diagonal = Math.hypot(x, y) / 2
  const byPixels = new Array<number>(16).fill(diagonal)
  byPixels[0b0000] = 0
  byPixels[0b1111] = 0
  byPixels[0b0011] = x
  byPixels[0b1100] = x
  byPixels[0b0101] = y
  byPixels[0b1010] = y
  byPixels[0b0110] = 2 * diagonal
  byPixels[0b1001] = 2 * diagonal
  return byPixels
}

/**
 * Euclidean distance of every corner of the grid to the nearest of the places: the exact transform of Felzenszwalb and
 * Huttenlocher (2012), columns first.
 */
export function distancesTo(
  places: readonly number[],
  { width, height }: Pick<Grid, 'width' | 'height'>,
  [dx, dy]: Spacing,
): Float64Array {
  const squared = new Float64Array(width * height).fill(Number.POSITIVE_INFINITY)
  for (const place of places) squared[place] = 0
  const column = new Float64Array(height)
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) column[y] = squared[y * width + x]!
    const nearest = lowerEnvelope(column, dy)
    for (let y = 0; y < height; y++) squared[y * width + x] = nearest[y]!
  }
  for (let y = 0; y < height; y++) {
    const row = squared.subarray(y * width, (y + 1) * width)
    row.set(lowerEnvelope(row, dx))
  }
  return squared.map(Math.sqrt)
}

/** For each place p the smallest of `values[q] + (step * (p - q))²`: the lower envelope of parabolas. */
function lowerEnvelope(values: Float64Array, step: number): Float64Array {
  const vertices: number[] = []
  const starts: number[] = []
  for (let q = 0; q < values.length; q++) {
    if (values[q] === Number.POSITIVE_INFINITY) continue
    let start = Number.NEGATIVE_INFINITY
    while (vertices.length > 0) {
      const v = vertices.at(-1)!
      start = (values[q]! - values[v]!) / (2 * step * step * (q - v)) + (q + v) / 2
      if (start > starts.at(-1)!) break
      vertices.pop()
      starts.pop()
      start = Number.NEGATIVE_INFINITY
    }
    vertices.push(q)
    starts.push(start)
  }
  const lowest = new Float64Array(values.length).fill(Number.POSITIVE_INFINITY)
  if (vertices.length === 0) return lowest
  for (let p = 0, i = 0; p < values.length; p++) {
    while (i + 1 < starts.length && starts[i + 1]! < p) i++
    lowest[p] = values[vertices[i]!]! + (step * (p - vertices[i]!)) ** 2
  }
  return lowest
}

function lengthWithin(distances: number[], lengths: number[], tolerance: number): number {
  return distances.reduce((total, distance, i) => (distance <= tolerance ? total + lengths[i]! : total), 0)
}

/** The distance that the given share of an outline's length does not exceed. */
function percentile(distances: number[], lengths: number[], share: number): number {
  const order = distances.map((_, i) => i).sort((a, b) => distances[a]! - distances[b]!)
  const enough = share * sum(lengths)
  let covered = 0
  for (const i of order) {
    covered += lengths[i]!
    if (covered >= enough) return distances[i]!
  }
  return distances[order.at(-1)!]!
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

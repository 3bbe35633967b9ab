import { unexpected } from '../errors.js'
import { Mask } from '../mask.js'
import type { Vector } from './affine.js'
import type { SlicePlane } from './axes.js'

/** A mask of one slice, and where its pixels lie: `volume.slice(...).plane`. */
export interface SliceMask {
  plane: SlicePlane
  mask: Mask
}

/** Values of one slice, row by row, and where its pixels lie. */
export interface SliceValues {
  plane: SlicePlane
  values: Float32Array
}

/** A set of voxels of a volume. Only its bounding box is stored, so that many objects fit in memory. Immutable. */
export class VoxelMask {
  /** Of the volume: voxels along i, j and k. */
  readonly shape: Vector
  /** Voxel index of the first corner of the box. */
  readonly origin: Vector
  /** Voxels of the box along i, j and k; all 0 where nothing is set. */
  readonly size: Vector
  /** Of the box: 0 or 1, i fastest, then j, then k. */
  readonly data: Uint8Array
  /** Voxels set. */
  readonly count: number

  private constructor(shape: Vector, box: Box) {
    this.shape = shape
    this.origin = box.origin
    this.size = box.size
    this.data = box.data
    this.count = box.data.reduce((sum, value) => sum + value, 0)
  }

  /**
   * @param shape of the volume
   * @param data one value a voxel of the volume, i fastest
   * @param value the voxels that are set; default: all but 0
   * @throws SegSamError `INVALID_ARGUMENT`
   */
  static of(shape: Vector, data: ArrayLike<number>, value?: number): VoxelMask {
    const voxels = shape[0] * shape[1] * shape[2]
    if (data.length !== voxels) throw unexpected('INVALID_ARGUMENT', 'data', data, `${voxels} values, one a voxel`)
    const isSet = value === undefined ? (at: number) => data[at] !== 0 : (at: number) => data[at] === value
    return new VoxelMask(shape, boxOf(shape, isSet))
  }

  /**
   * Masks of slices put together, each one voxel thick; of any axis.
   *
   * @param shape of the volume
   * @throws SegSamError `INVALID_ARGUMENT` where a mask has not the size of its slice
   */
  static ofSlices(shape: Vector, slices: readonly SliceMask[]): VoxelMask {
    const bounds = new Bounds()
    for (const { plane, mask } of slices) {
      checkSize(shape, plane, mask)
      if (!mask.bbox) continue
      const [x0, y0, x1, y1] = mask.bbox
      bounds.add(...voxelAt(plane, x0, y0))
      bounds.add(...voxelAt(plane, x1, y1))
    }
    const box = bounds.box()
    for (const { plane, mask } of slices) {
      if (!mask.bbox) continue
      const [x0, y0, x1, y1] = mask.bbox
      for (let y = y0; y <= y1; y++) {
        for (let x = x0; x <= x1; x++) {
          if (mask.data[y * mask.width + x]) box.data[indexOf(box.size, within(box, voxelAt(plane, x, y)))] = 1
        }
      }
    }
    return new VoxelMask(shape, box)
  }

  /**
   * The voxels for which something holds.
   *
   * @param holds of a place in `data`
   */
  part(holds: (at: number) => boolean): VoxelMask {
    const { origin, size, data } = boxOf(this.size, (at) => this.data[at] === 1 && holds(at))
    const moved: Vector = [this.origin[0] + origin[0], this.origin[1] + origin[1], this.origin[2] + origin[2]]
    return new VoxelMask(this.shape, { origin: data.length > 0 ? moved : origin, size, data })
  }

  /** Its part in one slice, of the size of the slice. */
  slice(plane: SlicePlane): Mask {
    const [width, height] = sizeOf(this.shape, plane)
    const data = new Uint8Array(width * height)
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) data[y * width + x] = this.has(voxelAt(plane, x, y)) ? 1 : 0
    }
    return new Mask(width, height, data)
  }

  /** What slices say of the voxels of the box, in the order of `data`; 0 where none of them lies. */
  valuesInBox(slices: readonly SliceValues[]): Float32Array {
    const inBox = new Float32Array(this.data.length)
    for (const { plane, values } of slices) {
      const [width] = sizeOf(this.shape, plane)
      for (let at = 0; at < values.length; at++) {
        const place = within(this, voxelAt(plane, at % width, Math.floor(at / width)))
        if (this.#hasPlace(place)) inBox[indexOf(this.size, place)] = values[at]!
      }
    }
    return inBox
  }

  /** Whether a voxel is set. */
  has(voxel: Vector): boolean {
    const place = within(this, voxel)
    return this.#hasPlace(place) && this.data[indexOf(this.size, place)] === 1
  }

  #hasPlace(place: Vector): boolean {
    return place.every((index, axis) => index >= 0 && index < this.size[axis]!)
  }

  /** One byte a voxel of the volume, i fastest. */
  toVolume(): Uint8Array {
    const whole = new Uint8Array(this.shape[0] * this.shape[1] * this.shape[2])
    this.paint(whole, 1)
    return whole
  }

  /** Writes a value wherever the mask is set into data of the whole volume, i fastest. */
  paint(data: { [at: number]: number }, value: number): void {
    this.forEach((_i, _j, _k, at) => {
      data[at] = value
    })
  }

  /** Visits every voxel that is set, i fastest; `at` is its place in data of the whole volume. */
  forEach(visit: (i: number, j: number, k: number, at: number) => void): void {
    const { origin, size, shape, data } = this
    for (let k = 0, from = 0; k < size[2]; k++) {
      for (let j = 0; j < size[1]; j++) {
        const row = indexOf(shape, [origin[0], origin[1] + j, origin[2] + k])
        for (let i = 0; i < size[0]; i++, from++) {
          if (data[from]) visit(origin[0] + i, origin[1] + j, origin[2] + k, row + i)
        }
      }
    }
  }
}

interface Box {
  origin: Vector
  size: Vector
  data: Uint8Array
}

class Bounds {
  readonly #low = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  readonly #high = [-1, -1, -1]

  add(i: number, j: number, k: number): void {
    for (const [axis, index] of [i, j, k].entries()) {
      if (index < this.#low[axis]!) this.#low[axis] = index
      if (index > this.#high[axis]!) this.#high[axis] = index
    }
  }

  /** With nothing set. */
  box(): Box {
    if (this.#high[0]! < 0) return { origin: [0, 0, 0], size: [0, 0, 0], data: new Uint8Array() }
    const [i, j, k] = this.#low as [number, number, number]
    const [width, height, depth] = this.#high.map((high, axis) => high - this.#low[axis]! + 1) as [
      number,
      number,
      number,
    ]
    return { origin: [i, j, k], size: [width, height, depth], data: new Uint8Array(width * height * depth) }
  }
}

/** @param isSet of a place in the values of a grid of this shape */
function boxOf(shape: Vector, isSet: (at: number) => boolean): Box {
  const bounds = new Bounds()
  forEachVoxel(shape, (i, j, k, at) => {
    if (isSet(at)) bounds.add(i, j, k)
  })
  const { origin, size, data } = bounds.box()
  forEachVoxel(size, (i, j, k, at) => {
    if (isSet(indexOf(shape, [origin[0] + i, origin[1] + j, origin[2] + k]))) data[at] = 1
  })
  return { origin, size, data }
}

function forEachVoxel(
  [width, height, depth]: Vector,
  visit: (i: number, j: number, k: number, at: number) => void,
): void {
  for (let k = 0, at = 0; k < depth; k++) {
    for (let j = 0; j < height; j++) {
      for (let i = 0; i < width; i++, at++) visit(i, j, k, at)
    }
  }
}

function indexOf([width, height]: Vector, [i, j, k]: Vector): number {
  return i + width * (j + height * k)
}

function within({ origin }: Pick<Box, 'origin'>, [i, j, k]: Vector): Vector {
  return [i - origin[0], j - origin[1], k - origin[2]]
}

function voxelAt({ origin, right, down }: SlicePlane, x: number, y: number): Vector {
  return [
    origin[0] + x * right[0] + y * down[0],
    origin[1] + x * right[1] + y * down[1],
    origin[2] + x * right[2] + y * down[2],
  ]
}

function sizeOf(shape: Vector, { right, down }: SlicePlane): [width: number, height: number] {
  const along = (step: Vector) => shape[step.findIndex((part) => part !== 0)]!
  return [along(right), along(down)]
}

function checkSize(shape: Vector, plane: SlicePlane, { width, height }: Mask): void {
  const [columns, rows] = sizeOf(shape, plane)
  if (width === columns && height === rows) return
  throw unexpected(
    'INVALID_ARGUMENT',
    'the size of a mask',
    `${width} x ${height}`,
    `that of its slice, ${columns} x ${rows}`,
  )
}

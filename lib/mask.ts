import type { MaskStats } from '../binding.js'
import { addon } from './addon.js'
import { SegSamError, unexpected } from './errors.js'
import { lazily } from './lazily.js'
import { MaskOfCall } from './mask-memory.js'
import { checkOptions } from './options.js'
import { loadSharp } from './sharp.js'

/** Inclusive pixel indices of the first and last column and row that are set. */
export type BoundingBox = [x0: number, y0: number, x1: number, y1: number]

/** A run-length encoded mask as COCO defines it; `size` is `[height, width]`. */
export interface Rle {
  size: [height: number, width: number]
  /** COCO's compressed string, as `pycocotools` reads and writes it. */
  counts: string
}

/** Run lengths in column-major order, the first run being background (possibly of length 0). */
export interface UncompressedRle {
  size: [height: number, width: number]
  counts: number[]
}

/** A closed ring; the first point is not repeated. Pixel (0, 0) covers [-0.5, 0.5] in x and y. */
export type Ring = [x: number, y: number][]

/** One 4-connected region, along pixel edges. The outer ring runs clockwise on the screen, holes counter-clockwise. */
export interface Polygon {
  outer: Ring
  holes: Ring[]
}

/** A connected region of a mask. */
export interface Component {
  /** In pixels. */
  area: number
  bbox: BoundingBox
}

/**
 * A binary mask of the size of the original image.
 *
 * Treat a mask as immutable: `area` and `bbox` are computed once.
 */
export class Mask {
  readonly width: number
  readonly height: number
  /**
   * Row-major, one byte a pixel: 0 background, anything else foreground (this package writes 1). The mask of a hit is kept
   * as bits, which are enough for `area`, `bbox`, `toRLE` and `toPolygons`. Its bytes are made when `data` or another
   * method first needs them, which throws `OUT_OF_MEMORY` where there is no memory, and are kept: `data` is a view into a
   * buffer that may be longer and hold other masks of the same call. With `out` it is a view into that.
   */
  declare readonly data: Uint8Array
  /** Until the bytes are made. */
  #packed: MaskOfCall | undefined
  #stats: MaskStats | undefined

  /**
   * @param data width * height bytes, used in place.
   * @throws SegSamError `INVALID_ARGUMENT`
   */
  constructor(width: number, height: number, data: Uint8Array)
  /** @internal */
  constructor(width: number, height: number, data: MaskOfCall)
  constructor(width: number, height: number, data: Uint8Array | MaskOfCall) {
    checkSide('width', width)
    checkSide('height', height)
    this.width = width
    this.height = height
    if (data instanceof MaskOfCall) {
      this.#packed = data
      const onSettled = () => {
        this.#packed = undefined
      }
      lazily(this, 'data', () => data.bytes(), onSettled)
    } else {
      checkPixels(data, width, height)
      this.data = data
    }
  }

  /**
   * Decodes a COCO run-length encoding, compressed or not.
   *
   * @throws SegSamError `INVALID_ARGUMENT` where the runs do not add up to the size.
   */
  static fromRLE(rle: Rle | UncompressedRle): Mask {
    const { size, counts: encoded } = rle ?? {}
    if (!Array.isArray(size) || size.length !== 2 || !(typeof encoded === 'string' || Array.isArray(encoded))) {
      throw unexpected(
        'INVALID_ARGUMENT',
        'the RLE',
        rle,
        '{ size: [height, width], counts }, counts a string or a list',
      )
    }
    const [height, width] = size
    checkSide('size[1] (width)', width)
    checkSide('size[0] (height)', height)
    const counts = typeof encoded === 'string' ? decompressed(encoded) : Uint32Array.from(encoded, checkedRun)
    const total = counts.reduce((sum, run) => sum + run, 0)
    if (total !== width * height) {
      throw new SegSamError(
        'INVALID_ARGUMENT',
        `The runs of the RLE add up to ${total} pixels; its size [${height}, ${width}] has ${width * height}. ` +
          'COCO orders the size as [height, width].',
      )
    }
    return new Mask(width, height, addon().decodeRle(counts, width, height))
  }

  /** Pixels set. */
  get area(): number {
    return this.#measure().area
  }

  /** Inclusive pixel indices [x0, y0, x1, y1] around everything that is set; `null` where nothing is. */
  get bbox(): BoundingBox | null {
    return this.#measure().bbox
  }

  /** COCO run-length encoding: the compressed string of `pycocotools`, or plain run lengths with `compressed: false`. */
  toRLE(options?: { compressed?: true }): Rle
  toRLE(options: { compressed: false }): UncompressedRle
  toRLE(options: { compressed?: boolean } = {}): Rle | UncompressedRle {
    checkOptions(options, ['compressed'])
    const counts = this.runs()
    const size: [number, number] = [this.height, this.width]
    return options.compressed === false
      ? { size, counts: Array.from(counts) }
      : { size, counts: addon().compressRle(counts) }
  }

  /** @internal Run lengths of COCO, not compressed. */
  runs(): Uint32Array {
    return this.#packed?.rle() ?? addon().encodeRle(this.data, this.width, this.height)
  }

  /** Outlines along pixel edges: exact, so that filling them gives the mask back. Collinear points are dropped. */
  toPolygons(): Polygon[] {
    const rings = this.#packed?.polygons() ?? addon().maskPolygons(this.data, this.width, this.height)
    const polygons: Polygon[] = []
    for (const { ring, hole } of rings) {
      if (hole) polygons.at(-1)!.holes.push(points(ring))
      else polygons.push({ outer: points(ring), holes: [] })
    }
    return polygons
  }

  /** An 8-bit gray PNG: 255 foreground, 0 background. */
  async toPNG(): Promise<Buffer> {
    checkPixels(this.data, this.width, this.height)
    const gray = this.data.map((value) => (value ? 255 : 0))
    const sharp = await loadSharp()
    return sharp(gray, { raw: { width: this.width, height: this.height, channels: 1 } })
      .toColourspace('b-w')
      .png()
      .toBuffer()
  }

  /**
   * Connected regions in the order in which a row-major scan meets them. `labels` is row-major, one entry a pixel:
   * 0 background, i + 1 for `components[i]`.
   *
   * @param options.connectivity 8 (default, as in SAM's post-processing) or 4 neighbours.
   */
  components(options: { connectivity?: 4 | 8 } = {}): { labels: Int32Array; components: Component[] } {
    checkOptions(options, ['connectivity'])
    const { connectivity = 8 } = options
    if (connectivity !== 4 && connectivity !== 8) {
      throw unexpected('INVALID_ARGUMENT', 'connectivity', connectivity, '4 or 8')
    }
    return addon().connectedComponents(this.data, this.width, this.height, connectivity)
  }

  /** The region with the most pixels (the first met where two are equal); an empty mask stays empty. */
  largestComponent(options: { connectivity?: 4 | 8 } = {}): Mask {
    const { labels, components } = this.components(options)
    const largest = components.reduce((best, { area }, i) => (area > (components[best]?.area ?? 0) ? i : best), 0)
    return new Mask(
      this.width,
      this.height,
      Uint8Array.from(labels, (label) => (label === largest + 1 ? 1 : 0)),
    )
  }

  /**
   * Fills background regions that do not touch the border. Background is 4-connected.
   *
   * @param options.maxArea largest hole to fill, in pixels; all of them by default.
   */
  fillHoles(options: { maxArea?: number } = {}): Mask {
    checkOptions(options, ['maxArea'])
    const { maxArea } = options
    if (maxArea !== undefined && !(Number.isSafeInteger(maxArea) && maxArea > 0)) {
      throw unexpected('INVALID_ARGUMENT', 'maxArea', maxArea, 'a whole number of pixels, at least 1')
    }
    return new Mask(this.width, this.height, addon().fillHoles(this.data, this.width, this.height, maxArea ?? 0))
  }

  /**
   * Intersection over union with a mask of the same size; 1 where both are empty.
   *
   * @throws SegSamError `INVALID_ARGUMENT` where the sizes differ.
   */
  iou(other: Mask): number {
    if (!(other instanceof Mask)) throw unexpected('INVALID_ARGUMENT', 'the other mask', other, 'a Mask')
    if (other.width !== this.width || other.height !== this.height) {
      throw unexpected(
        'INVALID_ARGUMENT',
        'size of the other mask',
        `${other.width} x ${other.height}`,
        `${this.width} x ${this.height}`,
      )
    }
    return addon().maskIou(this.data, other.data)
  }

  #measure() {
    this.#stats ??= this.#packed?.stats() ?? addon().maskStats(this.data, this.width, this.height)
    return this.#stats
  }
}

function points(ring: Float64Array): Ring {
  return Array.from({ length: ring.length / 2 }, (_, i) => [ring[2 * i]!, ring[2 * i + 1]!])
}

function checkPixels(data: unknown, width: number, height: number) {
  if (data instanceof Uint8Array && data.length === width * height) return
  throw unexpected(
    'INVALID_ARGUMENT',
    'data of the mask',
    data,
    `a Uint8Array of width * height = ${width * height} bytes`,
    'A buffer that was transferred to another thread has length 0.',
  )
}

function checkSide(what: string, value: unknown) {
  if (!Number.isSafeInteger(value) || (value as number) < 1) {
    throw unexpected('INVALID_ARGUMENT', `${what} of the mask`, value, 'a whole number of pixels, at least 1')
  }
}

function checkedRun(run: number, index: number): number {
  if (!Number.isInteger(run) || run < 0 || run > 0xffffffff) {
    throw unexpected('INVALID_ARGUMENT', `counts[${index}] of the RLE`, run, 'whole numbers from 0 on')
  }
  return run
}

function decompressed(counts: string): Uint32Array {
  try {
    return addon().decompressRle(counts)
  } catch (cause) {
    throw new SegSamError('INVALID_ARGUMENT', `counts is not a COCO run-length string: ${(cause as Error).message}`, {
      cause,
    })
  }
}

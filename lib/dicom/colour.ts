import { SegSamError } from '../errors.js'
import { damaged } from '../files/limits.js'
import type { DicomDataset } from './dataset.js'
import { lookupDescriptor, lookupValues } from './lookup-table.js'

/** RGBRGB... of RR...GG...BB..., frame by frame. */
export function interleaved<T extends Uint8Array | Uint16Array | Uint32Array>(planar: T, pixels: number): T {
  const whole = planar.slice() as T
  for (let start = 0; start < planar.length; start += 3 * pixels) {
    for (let i = 0; i < pixels; i++) {
      for (let c = 0; c < 3; c++) whole[start + 3 * i + c] = planar[start + c * pixels + i]!
    }
  }
  return whole
}

/** Full-range YCbCr of 8 bits to RGB (PS3.3 C.7.6.3.1.2), in place. */
export function rgbOfYbr(pixels: Uint8Array): Uint8Array {
  const rounded = new Uint8ClampedArray(pixels.buffer, pixels.byteOffset, pixels.length)
  for (let i = 0; i + 2 < pixels.length; i += 3) {
    const [y, b, r] = [pixels[i]!, pixels[i + 1]! - 128, pixels[i + 2]! - 128]
    rounded[i] = Math.round(y + 1.402 * r)
    rounded[i + 1] = Math.round(y - (0.114 * 1.772 * b + 0.299 * 1.402 * r) / 0.587)
    rounded[i + 2] = Math.round(y + 1.772 * b)
  }
  return pixels
}

/** Y Y Cb Cr for two pixels to Y Cb Cr for each. */
export function fullOfYbr422(subsampled: Uint8Array): Uint8Array {
  const full = new Uint8Array((subsampled.length / 4) * 6)
  for (let from = 0, to = 0; from + 3 < subsampled.length; from += 4, to += 6) {
    const [first, second, b, r] = subsampled.subarray(from, from + 4)
    full.set([first!, b!, r!, second!, b!, r!], to)
  }
  return full
}

/**
 * Colours of palette indices, 8 bits a channel: of entries with 16 bits the upper 8 (PS3.3 C.7.6.3.1.5).
 *
 * @throws SegSamError `INVALID_IMAGE`, `UNSUPPORTED_FORMAT`
 */
export function rgbOfPalette(indices: ArrayLike<number>, dataset: DicomDataset, name: string): Uint8Array {
  const tables = ['1', '2', '3'].map((colour) => paletteOf(dataset, colour, name))
  const rgb = new Uint8Array(indices.length * 3)
  for (const [channel, { first, values, bits }] of tables.entries()) {
    const last = values.length - 1
    const drop = bits > 8 ? bits - 8 : 0
    for (let i = 0; i < indices.length; i++) {
      const entry = Math.min(last, Math.max(0, indices[i]! - first))
      rgb[3 * i + channel] = values[entry]! >> drop
    }
  }
  return rgb
}

function paletteOf(dataset: DicomDataset, colour: string, name: string) {
  const descriptor = lookupDescriptor(dataset, `x0028110${colour}`, false)
  if (!descriptor) throw damaged(name, 'its palette is missing')
  if (dataset.element(`x0028122${colour}`)) {
    throw new SegSamError('UNSUPPORTED_FORMAT', `${name} has a segmented palette. Convert it to RGB first.`)
  }
  const values = lookupValues(dataset, `x0028120${colour}`, descriptor)
  if (!values) throw damaged(name, 'its palette is too short')
  return { first: descriptor.first, bits: descriptor.bits, values }
}

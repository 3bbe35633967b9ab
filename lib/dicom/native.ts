import { damaged } from '../files/limits.js'
import { numbersFrom, type RawData } from '../files/numbers.js'
import type { DicomDataset } from './dataset.js'
import type { ImageAttributes } from './image-attributes.js'

/**
 * The bytes of all frames of a file that is not compressed, in little-endian order but for samples of 16 bits or more.
 *
 * @throws SegSamError `INVALID_IMAGE`
 */
export function nativePixels(dataset: DicomDataset, attributes: ImageAttributes, name: string): Uint8Array {
  const expected = checkNativePixels(dataset, attributes, name)
  const element = dataset.element(attributes.pixelTag)!
  const bytes = dataset.bytes(element)
  const isSwapped = !dataset.littleEndian && element.vr === 'OW' && attributes.bitsAllocated <= 8
  return (isSwapped ? swapped(bytes) : bytes).subarray(0, expected)
}

/**
 * @returns bytes that all frames take
 * @throws SegSamError `INVALID_IMAGE` where the file has fewer
 */
export function checkNativePixels(dataset: DicomDataset, attributes: ImageAttributes, name: string): number {
  const element = dataset.element(attributes.pixelTag)!
  const expected = Math.ceil((bitsOfFrame(attributes) * attributes.frames) / 8)
  if (element.encapsulatedPixelData) throw damaged(name, 'its pixels are compressed, its transfer syntax is not')
  const { length } = dataset.bytes(element)
  if (length < expected) throw damaged(name, `its pixels take ${expected} bytes, the file has ${length}`)
  return expected
}

/** Samples of one frame as the file stores them, unused bits and sign not yet put right. */
export function nativeSamples(
  pixels: Uint8Array,
  frame: number,
  attributes: ImageAttributes,
  littleEndian: boolean,
): RawData {
  const { bitsAllocated, pixelTag } = attributes
  const bits = bitsOfFrame(attributes)
  // Frames of 1-bit pixels follow each other without padding.
  if (bitsAllocated === 1) return bitsOf(pixels, frame * bits, bits)
  const bytes = pixels.subarray((frame * bits) / 8, ((frame + 1) * bits) / 8)
  if (pixelTag === 'x7fe00008') return numbersFrom(bytes, Float32Array, littleEndian)
  if (pixelTag === 'x7fe00009') return numbersFrom(bytes, Float64Array, littleEndian)
  if (bitsAllocated === 8) return new Uint8Array(bytes)
  return numbersFrom(bytes, bitsAllocated === 16 ? Uint16Array : Uint32Array, littleEndian)
}

/** Colour subsampled as YBR_FULL_422 has two samples a pixel. */
function bitsOfFrame({ rows, columns, samples, bitsAllocated, photometric }: ImageAttributes): number {
  return rows * columns * (photometric === 'YBR_FULL_422' ? 2 : samples) * bitsAllocated
}

/** The first pixel is the lowest bit of the first byte. */
function bitsOf(bytes: Uint8Array, first: number, count: number): Uint8Array {
  const bits = new Uint8Array(count)
  for (let i = 0; i < count; i++) bits[i] = (bytes[Math.floor((first + i) / 8)]! >> ((first + i) % 8)) & 1
  return bits
}

/** Bytes written as big-endian words of two. */
function swapped(bytes: Uint8Array): Uint8Array {
  const pairs = Buffer.alloc(bytes.length + (bytes.length & 1))
  pairs.set(bytes)
  return new Uint8Array(pairs.swap16())
}

/** Keeps the stored bits alone, with their sign: what lies above them may be an overlay, or anything. */
export function storedBits(raw: RawData, { bitsAllocated, bitsStored, shift, isSigned }: ImageAttributes): RawData {
  if (raw instanceof Float32Array || raw instanceof Float64Array || bitsAllocated === 1) return raw
  const unused = 32 - bitsStored
  const Type = isSigned
    ? ({ 8: Int8Array, 16: Int16Array, 32: Int32Array } as const)[bitsAllocated as 8 | 16 | 32]
    : ({ 8: Uint8Array, 16: Uint16Array, 32: Uint32Array } as const)[bitsAllocated as 8 | 16 | 32]
  if (bitsStored === bitsAllocated && raw.BYTES_PER_ELEMENT === Type.BYTES_PER_ELEMENT) {
    return new Type(raw.buffer as ArrayBuffer, raw.byteOffset, raw.length)
  }
  const values = new Type(raw.length)
  for (let i = 0; i < values.length; i++) {
    const high = (Number(raw[i]!) >>> shift) << unused
    values[i] = isSigned ? high >> unused : high >>> unused
  }
  return values
}

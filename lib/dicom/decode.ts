import { SegSamError } from '../errors.js'
import { damaged } from '../files/limits.js'
import type { RawData } from '../files/numbers.js'
import { fullOfYbr422, interleaved, rgbOfPalette, rgbOfYbr } from './colour.js'
import { decoderOf, type Samples } from './compressed.js'
import {
  DEFLATED_LITTLE_ENDIAN,
  type DicomFile,
  EXPLICIT_BIG_ENDIAN,
  EXPLICIT_LITTLE_ENDIAN,
  IMPLICIT_LITTLE_ENDIAN,
} from './dataset.js'
import { encapsulatedFrames } from './frames.js'
import type { ImageAttributes } from './image-attributes.js'
import { checkNativePixels, nativePixels, nativeSamples, storedBits } from './native.js'

const NATIVE = [IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN, DEFLATED_LITTLE_ENDIAN]

/**
 * To call before anything is made for each frame: a few bytes may declare millions of them.
 *
 * @throws SegSamError `INVALID_IMAGE`
 */
export function checkFrames({ dataset, transferSyntax }: DicomFile, attributes: ImageAttributes, name: string): void {
  if (NATIVE.includes(transferSyntax)) {
    checkNativePixels(dataset, attributes, name)
    return
  }
  const { length } = dataset.bytes(dataset.element(attributes.pixelTag)!)
  if (length < attributes.frames) throw damaged(name, `its ${attributes.frames} frames have ${length} bytes`)
}

/** Decodes one frame, numbered from 0: stored values of gray, or 8- or 16-bit RGB. */
export type FrameDecoder = (frame: number) => Promise<RawData>

/** @throws SegSamError `INVALID_IMAGE`, `UNSUPPORTED_FORMAT`, as the decoder it gives does */
export function frameDecoder(file: DicomFile, attributes: ImageAttributes, name: string): FrameDecoder {
  const { dataset, transferSyntax } = file
  if (NATIVE.includes(transferSyntax)) {
    const pixels = nativePixels(dataset, attributes, name)
    return async (frame) => {
      const values = nativeSamples(pixels, frame, attributes, dataset.littleEndian)
      return rgbOrStored(file, attributes, { values, isRgb: false }, name, true)
    }
  }
  const decode = decoderOf(transferSyntax, name)
  const frames = encapsulatedFrames(dataset, attributes, name)
  return async (frame) => rgbOrStored(file, attributes, await decode(frames[frame]!, attributes, name), name, false)
}

function rgbOrStored(
  { dataset, transferSyntax }: DicomFile,
  attributes: ImageAttributes,
  { values, isRgb }: Samples,
  name: string,
  isNative: boolean,
): RawData {
  const { samples, photometric, rows, columns, isPlanar, bitsAllocated, bitsStored } = attributes
  if (photometric === 'PALETTE COLOR') {
    return rgbOfPalette(storedBits(values, attributes) as Uint8Array | Uint16Array, dataset, name)
  }
  if (samples === 1) return storedBits(values, attributes)
  if (!(values instanceof Uint8Array || values instanceof Uint16Array) || attributes.isSigned) {
    throw new SegSamError(
      'UNSUPPORTED_FORMAT',
      `${name} has colours of ${bitsAllocated} bits; allowed: 8 or 16, unsigned.`,
    )
  }
  // RLE has its colours in segments of their own and comes interleaved, whatever the file says.
  const isSubsampled = isNative && photometric === 'YBR_FULL_422'
  const pixels = isNative && isPlanar && !isSubsampled ? interleaved(values, rows * columns) : values
  if (isRgb || photometric === 'RGB') return pixels
  if (transferSyntax.startsWith('1.2.840.10008.1.2.4') && /^YBR_(RCT|ICT)$/.test(photometric)) return pixels
  if (!(pixels instanceof Uint8Array) || bitsStored !== 8) {
    throw new SegSamError('UNSUPPORTED_FORMAT', `${name} has YBR colours of ${bitsStored} bits; allowed: 8.`)
  }
  if (!isSubsampled) return rgbOfYbr(pixels)
  if (columns % 2 === 1) throw damaged(name, 'colours for two pixels at a time need an even number of columns')
  return rgbOfYbr(fullOfYbr422(pixels))
}

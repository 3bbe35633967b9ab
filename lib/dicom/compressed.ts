import { Decoder as LosslessDecoder } from 'jpeg-lossless-decoder-js'
import { SegSamError, unexpected } from '../errors.js'
import { damaged } from '../files/limits.js'
import { numbersFrom, type RawData } from '../files/numbers.js'
import { loadSharp } from '../sharp.js'
import { type CodestreamHeader, jpeg2000Header, jpegHeader, markedAsRgb } from './codestream.js'
import { interleaved } from './colour.js'
import type { ImageAttributes } from './image-attributes.js'
import { decodeJpeg12 } from './jpeg12.js'
import { decodeRle } from './rle.js'
import { type DecodedFrame, WasmCodec } from './wasm-codec.js'

/** Samples of a frame, colours interleaved. */
export interface Samples {
  values: RawData
  /** The codec has already turned YCbCr into RGB. */
  isRgb: boolean
}

type Decode = (frame: Uint8Array, attributes: ImageAttributes, name: string) => Promise<Samples>

const openJpeg = new WasmCodec(() => import('@cornerstonejs/codec-openjpeg/decodewasmjs'), 'J2KDecoder')
const charls = new WasmCodec(() => import('@cornerstonejs/codec-charls/decodewasmjs'), 'JpegLSDecoder')

/** By transfer syntax. OpenJPEG decodes High-Throughput JPEG 2000 as well. */
const DECODERS: Record<string, Decode> = {
  '1.2.840.10008.1.2.5': rle,
  '1.2.840.10008.1.2.4.50': jpeg,
  '1.2.840.10008.1.2.4.51': jpeg,
  '1.2.840.10008.1.2.4.57': jpeg,
  '1.2.840.10008.1.2.4.70': jpeg,
  '1.2.840.10008.1.2.4.80': jpegLs,
  '1.2.840.10008.1.2.4.81': jpegLs,
  '1.2.840.10008.1.2.4.90': jpeg2000,
  '1.2.840.10008.1.2.4.91': jpeg2000,
  '1.2.840.10008.1.2.4.201': jpeg2000,
  '1.2.840.10008.1.2.4.202': jpeg2000,
  '1.2.840.10008.1.2.4.203': jpeg2000,
}

/** More tiles than any scanner writes; each takes memory before a byte of it is decoded. */
const MAX_TILES = 0x10000

/** @throws SegSamError `UNSUPPORTED_FORMAT` */
export function decoderOf(transferSyntax: string, name: string): Decode {
  if (Object.hasOwn(DECODERS, transferSyntax)) return DECODERS[transferSyntax]!
  const shown = /^[0-9.]{1,64}$/.test(transferSyntax) ? transferSyntax : 'of no valid form'
  throw new SegSamError(
    'UNSUPPORTED_FORMAT',
    `${name} has the transfer syntax ${shown}, which is not read. Allowed: uncompressed, deflated, RLE, JPEG, JPEG-LS, ` +
      'JPEG 2000 and HTJ2K. Convert it first.',
  )
}

async function rle(frame: Uint8Array, { rows, columns, samples, bitsAllocated }: ImageAttributes, name: string) {
  if (bitsAllocated < 8)
    throw unexpected('UNSUPPORTED_FORMAT', `Bits Allocated of ${name}`, bitsAllocated, '8, 16 or 32')
  const bytes = decodeRle(frame, rows * columns, samples, bitsAllocated / 8, name)
  return { values: numbersFrom(bytes, integersOf(bitsAllocated), true), isRgb: false }
}

function integersOf(bits: number) {
  if (bits <= 8) return Uint8Array
  return bits <= 16 ? Uint16Array : Uint32Array
}

/** The kind of JPEG is told by the frame header, for some files name another in their transfer syntax. */
async function jpeg(frame: Uint8Array, attributes: ImageAttributes, name: string): Promise<Samples> {
  const header = jpegHeader(frame)
  checkHeader(header, attributes, name)
  if (header.marker === 0xc3) return lossless(frame, header, name)
  if (header.precision === 12) return { values: wrapped(name, () => decodeJpeg12(frame, header)), isRgb: false }
  const colours = attributes.samples === 1 ? 'b-w' : 'srgb'
  const coded = attributes.photometric === 'RGB' ? markedAsRgb(frame) : frame
  const sharp = await loadSharp()
  try {
    const { data, info } = await sharp(coded, {
      failOn: 'error',
      ignoreIcc: true,
      limitInputPixels: header.width * header.height,
    })
      .toColourspace(colours)
      .raw()
      .toBuffer({ resolveWithObject: true })
    if (info.channels !== attributes.samples) throw damaged(name, `a frame has ${info.channels} components`)
    return { values: new Uint8Array(data), isRgb: true }
  } catch (cause) {
    if (cause instanceof SegSamError) throw cause
    throw damaged(name, `a JPEG frame cannot be decoded (${(cause as Error).message.trim()})`)
  }
}

function lossless(
  frame: Uint8Array,
  { precision, width, height, components }: CodestreamHeader,
  name: string,
): Samples {
  const bytesPerSample = precision <= 8 ? 1 : 2
  const decoded = wrapped(name, () => {
    const copy = new Uint8Array(frame)
    return new LosslessDecoder(copy.buffer, bytesPerSample).decompress() as ArrayBuffer
  })
  const bytes = new Uint8Array(decoded)
  checkLength(bytes, width * height * components * bytesPerSample, name)
  return { values: numbersFrom(bytes, integersOf(precision), true), isRgb: false }
}

async function jpegLs(frame: Uint8Array, attributes: ImageAttributes, name: string): Promise<Samples> {
  const header = jpegHeader(frame)
  checkHeader(header, attributes, name)
  // CharLS gives components as they were coded.
  return { values: samplesOf(await decodedBy(charls, frame, 'JPEG-LS', name), header, name), isRgb: false }
}

async function jpeg2000(frame: Uint8Array, attributes: ImageAttributes, name: string): Promise<Samples> {
  const header = jpeg2000Header(frame)
  checkHeader(header, attributes, name)
  if (!(header.tiles <= MAX_TILES))
    throw unexpected('INVALID_IMAGE', `the tiles of ${name}`, header.tiles, `at most ${MAX_TILES}`)
  const values = samplesOf(await decodedBy(openJpeg, frame, 'JPEG 2000', name), header, name)
  return { values, isRgb: header.isTransformed }
}

/** The codecs allocate what the header asks for, so it must agree with the file, whose size has been checked. */
function checkHeader<T extends CodestreamHeader>(
  header: T | undefined,
  { rows, columns, samples, bitsAllocated }: ImageAttributes,
  name: string,
): asserts header is T {
  if (!header) throw damaged(name, 'a compressed frame has no header')
  const { width, height, components, precision } = header
  if (width !== columns || height !== rows || components !== samples) {
    throw damaged(
      name,
      `a compressed frame has ${width} x ${height} pixels of ${components} components, ` +
        `the file says ${columns} x ${rows} of ${samples}`,
    )
  }
  if (precision > Math.min(16, bitsAllocated) || precision < 2) {
    throw damaged(name, `a compressed frame has ${precision} bits a sample, the file ${bitsAllocated}`)
  }
}

async function decodedBy(codec: WasmCodec, frame: Uint8Array, what: string, name: string): Promise<DecodedFrame> {
  try {
    return await codec.decode(frame)
  } catch {
    // Codecs throw numbers and aborts, which say nothing to a person.
    throw damaged(name, `a ${what} frame cannot be decoded`)
  }
}

function samplesOf({ bytes, isPlanar, ...info }: DecodedFrame, header: CodestreamHeader, name: string): RawData {
  const { width, height, components, precision } = header
  if (info.width !== width || info.height !== height || info.componentCount !== components) {
    throw damaged(name, 'a compressed frame is not as its header says')
  }
  checkLength(bytes, width * height * components * (precision <= 8 ? 1 : 2), name)
  const values = numbersFrom(bytes, integersOf(precision), true) as Uint8Array | Uint16Array
  return isPlanar ? interleaved(values, width * height) : values
}

function checkLength(bytes: Uint8Array, expected: number, name: string): void {
  if (bytes.length !== expected)
    throw damaged(name, `a decoded frame has ${bytes.length} bytes in place of ${expected}`)
}

function wrapped<T>(name: string, decode: () => T): T {
  try {
    return decode()
  } catch (cause) {
    throw damaged(name, `a JPEG frame cannot be decoded (${(cause as Error).message})`)
  }
}

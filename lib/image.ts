import type { Metadata, Sharp } from 'sharp'
import { dicomWebAddress, fetchDicom } from './dicom/dicomweb.js'
import { readDicomFrame } from './dicom/read-dicom.js'
import { SegSamError, unexpected } from './errors.js'
import { contentOf, type FileInput, type FileStream, isStream, nameOf } from './files/content.js'
import { formatOf, pictureOf } from './files/format.js'
import { readByItk } from './files/itk.js'
import { readNifti } from './files/nifti.js'
import { checkOptions } from './options.js'
import { loadSharp } from './sharp.js'

/** Pixel values: 8-bit, unsigned or signed 16-bit (Hounsfield units, for example), or float. */
export type PixelData = Uint8Array | Uint8ClampedArray | Uint16Array | Int16Array | Float32Array

/** An image in memory, as {@link readImage} gives it and `model.encode` takes it. */
export interface MedicalImage {
  /** Row-major, channels interleaved; width * height * channels values, all finite. */
  data: PixelData
  width: number
  height: number
  /** 1 gray, 3 RGB, 4 RGBA (alpha is ignored). */
  channels: 1 | 3 | 4
}

export interface ReadImageOptions {
  /**
   * Page of a file that holds several, from 0: of a TIFF or WebP, the frame of a DICOM file, the slice of a NIfTI file along
   * its third axis. Such a file is an error without it.
   */
  page?: number
  /** Files with more pixels are refused before they are decoded; by default 2^28, for example 16384 x 16384. */
  maxPixels?: number
  /** Of the request to a DICOMweb server, for example `{ Authorization: 'Bearer ...' }`. */
  headers?: Readonly<Record<string, string>>
  /** Aborts the request to a DICOMweb server. */
  signal?: AbortSignal
}

const MAX_PIXELS = 2 ** 28
const FORMATS = ['png', 'jpeg', 'tiff', 'webp']
const PIXEL_TYPES = [Uint8Array, Uint8ClampedArray, Uint16Array, Int16Array, Float32Array]

/**
 * Reads an image file, or validates raw pixels and hands them back as they are.
 *
 * PNG, JPEG, TIFF and WebP: 8-bit files give a `Uint8Array`, 16-bit ones a `Uint16Array`, gray float TIFFs a
 * `Float32Array`; gray stays gray, palettes and CMYK become RGB, transparency is dropped, and the EXIF orientation is
 * applied. Values are not rescaled: see the `window` option of `model.encode`.
 *
 * DICOM, NIfTI, NRRD and MetaImage: one frame or slice, in physical units and as it lies in the file. `readVolume` gives
 * the whole, with geometry and windows.
 *
 * @param input path, address of an instance on a DICOMweb server, file content, a stream of it, or raw pixels
 * @throws SegSamError `READ_FAILED`, `UNSUPPORTED_FORMAT`, `INVALID_IMAGE` (damaged, truncated or too large)
 */
export async function readImage(
  input: string | URL | Uint8Array | FileStream | MedicalImage,
  options: ReadImageOptions = {},
): Promise<MedicalImage> {
  checkOptions(options, ['page', 'maxPixels', 'headers', 'signal'])
  if (typeof input === 'string' || input instanceof URL || input instanceof Uint8Array || isStream(input)) {
    checkChoices(options)
    const { maxPixels = MAX_PIXELS } = options
    const name = input instanceof Uint8Array ? 'The image buffer' : nameOf(input)
    const content = (await fetched(input, options)) ?? (await contentOf(input, name, maxPixels))
    return decode(content, name, input, options)
  }
  checkImage(input, 'image')
  return input
}

/** The one instance that a DICOMweb address names; `undefined` for what is no web address. */
async function fetched(
  input: unknown,
  { maxPixels = MAX_PIXELS, headers = {}, signal }: ReadImageOptions,
): Promise<Uint8Array | undefined> {
  const address = dicomWebAddress(input)
  if (!address) return undefined
  if (address.instance === null) {
    throw new SegSamError(
      'INVALID_ARGUMENT',
      `${input} is a series. Add /instances/UID for one image, or read all with readVolume.`,
    )
  }
  const [file] = await fetchDicom(address, { headers, signal, maxVoxels: maxPixels })
  return file!.content
}

/** @throws SegSamError `INVALID_IMAGE` */
export function checkImage(image: MedicalImage, name: string): void {
  if (typeof image !== 'object' || image === null || ArrayBuffer.isView(image)) {
    throw unexpected(
      'INVALID_IMAGE',
      name,
      image,
      '{ data, width, height, channels }',
      'Read a file with readImage(path) first.',
    )
  }
  const { data, width, height, channels } = image
  for (const [side, value] of Object.entries({ width, height })) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw unexpected('INVALID_IMAGE', `${side} of ${name}`, value, 'a whole number of pixels, at least 1')
    }
  }
  if (channels !== 1 && channels !== 3 && channels !== 4) {
    throw unexpected('INVALID_IMAGE', `channels of ${name}`, channels, '1 (gray), 3 (RGB) or 4 (RGBA)')
  }
  if (!PIXEL_TYPES.some((type) => data instanceof type)) {
    throw unexpected('INVALID_IMAGE', `data of ${name}`, data, `a ${PIXEL_TYPES.map((type) => type.name).join(', ')}`)
  }
  if (data.length !== width * height * channels) {
    throw unexpected(
      'INVALID_IMAGE',
      `data of ${name}`,
      data,
      `width * height * channels = ${width} * ${height} * ${channels} = ${width * height * channels} values`,
      'A buffer that was transferred to another thread has length 0.',
    )
  }
  if (data instanceof Float32Array) {
    const bad = data.findIndex((value) => !Number.isFinite(value))
    if (bad >= 0) {
      const pixel = Math.floor(bad / channels)
      throw unexpected(
        'INVALID_IMAGE',
        `the pixel at x ${pixel % width}, y ${Math.floor(pixel / width)} of ${name}`,
        data[bad],
        'finite values',
        'Replace missing values, by the lowest intensity for example.',
      )
    }
  }
}

/** Zeros in an array of the type of `data`; of a Node `Buffer`, in a plain `Uint8Array`. */
export function newPixels(data: PixelData, length: number): PixelData {
  const PixelArray = PIXEL_TYPES.find((type) => data instanceof type)!
  return new PixelArray(length)
}

/** @throws SegSamError `INVALID_ARGUMENT` */
export function checkWindow(window: unknown): void {
  if (window === undefined) return
  const valid = Array.isArray(window) && window.length === 2 && window.every(Number.isFinite) && window[0] < window[1]
  if (!valid) throw unexpected('INVALID_ARGUMENT', 'window', window, 'two finite intensities [low, high], low < high')
}

/**
 * Least and greatest intensity of an image that has been checked, alpha left out. A single intensity is the lower end of
 * some range, and so black.
 */
export function intensityRange({ data, channels }: MedicalImage): [low: number, high: number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (let i = 0; i < data.length; i++) {
    if (channels === 4 && i % 4 === 3) continue
    const value = data[i]!
    if (value < low) low = value
    if (value > high) high = value
  }
  return [low, low < high ? high : low + Math.max(1, Math.abs(low))]
}

/** The window that `encode` takes where none is given; `undefined`: 0 to 255, or percentiles beyond 8 bits. */
export function defaultWindowOf(model: { defaultWindow: 'auto' | 'min_max' }, image: MedicalImage) {
  return model.defaultWindow === 'min_max' ? intensityRange(image) : undefined
}

const [LOW_QUANTILE, HIGH_QUANTILE] = [0.005, 0.995]

/** What the addon takes for black and white of its own accord: 0 to 255, or percentiles beyond 8 bits. */
export function automaticWindow(image: MedicalImage): readonly [low: number, high: number] {
  const { data, channels } = image
  if (data instanceof Uint8Array || data instanceof Uint8ClampedArray) return [0, 255]
  const sorted = (channels === 4 ? data.filter((_, i) => i % 4 !== 3) : data.slice()).sort()
  const quantile = (share: number) => {
    const rank = share * (sorted.length - 1)
    const below = sorted[Math.floor(rank)]!
    return below + (sorted[Math.ceil(rank)]! - below) * (rank % 1)
  }
  const [low, high] = [quantile(LOW_QUANTILE), quantile(HIGH_QUANTILE)]
  return [low, low < high ? high : low + Math.max(1, Math.abs(low))]
}

function checkChoices({ page, maxPixels = MAX_PIXELS }: ReadImageOptions): void {
  if (page !== undefined && !(Number.isSafeInteger(page) && page >= 0)) {
    throw unexpected('INVALID_ARGUMENT', 'page', page, 'a whole number from 0 on')
  }
  if (!(Number.isSafeInteger(maxPixels) && maxPixels > 0)) {
    throw unexpected('INVALID_ARGUMENT', 'maxPixels', maxPixels, 'a whole number, at least 1')
  }
}

async function decode(
  content: Uint8Array,
  name: string,
  input: FileInput,
  options: ReadImageOptions,
): Promise<MedicalImage> {
  const { page, maxPixels = MAX_PIXELS } = options
  const format = formatOf(content)
  if (format === 'dicom')
    return plain((await readDicomFrame(content, name, { frame: page, maxVoxels: maxPixels })).slice('z', 0))
  if (format === 'nifti' || format === 'nrrd' || format === 'metaimage') {
    const choices = { index: undefined, maxVoxels: maxPixels }
    const volume =
      format === 'nifti' ? readNifti(content, name, choices) : await readByItk(content, format, name, input, choices)
    if (page === undefined && volume.shape[2] > 1) throw choosePage(name, volume.shape[2], 'slices')
    return plain(volume.slice('z', page ?? 0))
  }
  return decodePicture(content, name, page, maxPixels)
}

function plain({ data, width, height, channels }: MedicalImage): MedicalImage {
  return { data, width, height, channels }
}

function choosePage(name: string, count: number, what: string): SegSamError {
  return new SegSamError(
    'INVALID_IMAGE',
    `${name} holds ${count} ${what}. Choose one: readImage(file, { page: 0 }) reads the first.`,
  )
}

async function decodePicture(
  content: Uint8Array,
  name: string,
  page: number | undefined,
  maxPixels: number,
): Promise<MedicalImage> {
  const file = await headerOf(content, name)
  const pages = file.pages ?? 1
  if (pages > 1 && page === undefined) throw choosePage(name, pages, 'pages')
  if (page !== undefined && page >= pages) throw unexpected('INVALID_ARGUMENT', 'page', page, `0 to ${pages - 1}`)
  if (file.width * file.height > maxPixels) {
    throw unexpected(
      'INVALID_IMAGE',
      `the size of ${name}`,
      `${file.width} x ${file.height}`,
      `at most ${maxPixels} pixels`,
      'Raise maxPixels if you trust the file, or crop or scale it first.',
    )
  }
  const sharp = await loadSharp()
  const opened = sharp(content, { autoOrient: true, failOn: 'error', limitInputPixels: maxPixels, page: page ?? 0 })
  return pixelsOf(opened.removeAlpha(), file, name)
}

async function headerOf(content: Uint8Array, name: string): Promise<Metadata> {
  const sharp = await loadSharp()
  let file: Metadata
  try {
    file = await sharp(content, { failOn: 'error', limitInputPixels: false }).metadata()
  } catch (cause) {
    const kind = pictureOf(content)
    if (kind || !/unsupported image format/.test((cause as Error).message)) throw damagedPicture(name, kind, cause)
    throw new SegSamError('UNSUPPORTED_FORMAT', `${name} is not an image of a known format. ${READABLE}`, { cause })
  }
  if (!FORMATS.includes(file.format)) {
    throw new SegSamError('UNSUPPORTED_FORMAT', `${name} is ${file.format.toUpperCase()}. ${READABLE}`)
  }
  return file
}

const READABLE =
  'Allowed: PNG, JPEG, TIFF, WebP, DICOM, NIfTI, NRRD, MetaImage. Decode other formats yourself and pass { data, width, height, channels }.'

async function pixelsOf(image: Sharp, file: Metadata, name: string): Promise<MedicalImage> {
  const gray = file.channels <= 2
  let colourspace: string
  if (file.depth === 'uchar') colourspace = gray ? 'b-w' : 'srgb'
  else if (file.depth === 'ushort') colourspace = gray ? 'grey16' : 'rgb16'
  else if (file.depth === 'float' && file.channels === 1) colourspace = 'b-w'
  else {
    throw new SegSamError(
      'UNSUPPORTED_FORMAT',
      `${name} has ${file.channels} channels of type ${file.depth}. Allowed: unsigned 8- and 16-bit, and gray float. ` +
        'Decode it yourself and pass { data, width, height, channels }.',
    )
  }
  try {
    const { data, info } = await image
      .toColourspace(colourspace)
      .raw({ depth: file.depth })
      .toBuffer({ resolveWithObject: true })
    const decoded = { data: view(data, file.depth), width: info.width, height: info.height, channels: info.channels }
    checkImage(decoded as MedicalImage, name)
    return decoded as MedicalImage
  } catch (cause) {
    if (cause instanceof SegSamError) throw cause
    throw damagedPicture(name, file.format, cause)
  }
}

/** @param kind what it begins as, where that is known */
function damagedPicture(name: string, kind: string | null, cause: unknown): SegSamError {
  const what = kind ? `a damaged or incomplete ${kind.toUpperCase()}` : 'damaged or incomplete'
  // Libraries tell the same of every piece of the file.
  const [reason] = (cause as Error).message.trim().split('\n', 1)
  const why = /unsupported image format/.test(reason!) ? 'its header cannot be read' : reason
  return new SegSamError('INVALID_IMAGE', `${name} is ${what}: ${why}`, { cause })
}

function view(bytes: Buffer, depth: 'uchar' | 'ushort' | 'float'): PixelData {
  const { buffer, byteOffset, length } = bytes
  if (depth === 'uchar') return new Uint8Array(buffer, byteOffset, length)
  if (depth === 'ushort') return new Uint16Array(buffer, byteOffset, length / 2)
  return new Float32Array(buffer, byteOffset, length / 4)
}

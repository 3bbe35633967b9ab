import { stat } from 'node:fs/promises'
import type { Command } from 'commander'
import { dicomWebAddress } from '../dicom/dicomweb.js'
import { SegSamError, unexpected } from '../errors.js'
import { contentOf } from '../files/content.js'
import { formatOf } from '../files/format.js'
import { MAX_VOXELS } from '../files/limits.js'
import { readVolume } from '../files/read-volume.js'
import { intensityRange, type MedicalImage, readImage } from '../image.js'
import { AXES, type Axis } from '../volume/axes.js'
import type { Volume, VolumeSlice, VolumeWarning } from '../volume.js'
import { chosenWindow, type WindowChoice } from '../window.js'
import { axis, header, whole, window } from './options.js'

/** What an argument `<image>` may be; part of --help. */
export const IMAGE_HELP =
  'PNG, JPEG, TIFF, WebP, DICOM, NIfTI, NRRD, MetaImage, the folder of a DICOM series, or its DICOMweb address'

export interface InputOptions {
  window?: WindowChoice
  page?: number
  slice?: number
  axis: Axis
  series?: number
  index?: number
  header?: Record<string, string>
}

/** An image, and where it comes from. */
export interface Input {
  image: MedicalImage
  /** For `model.encode`; `undefined` where the image is windowed already or none was asked for. */
  window: [number, number] | undefined
  /** `null` for a picture. */
  slice: SliceResult | null
  /** The volume that the slice is of; `null` for a picture. */
  volume: Volume | null
}

/** Which slice of a volume an image is, in the JSON of a command. */
export interface SliceResult {
  axis: Axis
  index: number
  plane: VolumeSlice['plane']
  /** In mm, [x, y]. */
  spacing: readonly [number, number]
  /** How 8 bits were made of the values; `null`: they were not. */
  window: VolumeSlice['window']
  warnings: readonly VolumeWarning[]
}

/** What an argument `<volume>` may be; part of --help. */
export const VOLUME_HELP = 'DICOM, NIfTI, NRRD, MetaImage, the folder of a DICOM series, or its DICOMweb address'

/** Adds the options that choose an image of a file or folder. */
export function withInputOptions(command: Command): Command {
  return withVolumeOptions(command.option('--page <n>', 'page of a picture with several, from 0', whole(0)))
}

/** Adds those that choose a volume, and slices of it. */
export function withVolumeOptions(command: Command): Command {
  return command
    .option('--window <low,high>', 'intensities shown as black and white, or: file, brain, bone, lung, ...', window)
    .option('--slice <n>', 'slice of a volume, from 0', whole(0))
    .option('--axis <axis>', `what slices are perpendicular to: ${AXES.join(', ')}`, axis, 'z')
    .option('--series <n>', 'series of a folder with several, from 0', whole(0))
    .option(
      '--header <name: value>',
      'sent to a DICOMweb server, as "Authorization: Bearer ..."; may be repeated',
      header,
    )
    .option('--index <n>', 'volume of a file with several, from 0', whole(0))
}

/**
 * Reads the picture, or the slice of a volume. Of a volume the slice is shown by the window given, else by that of its file.
 *
 * @throws SegSamError
 */
export async function readInput(path: string, options: InputOptions): Promise<Input> {
  const { page } = options
  if (!(await isVolume(path))) {
    const image = await readImage(path, { ...(page !== undefined && { page }) })
    return { image, window: linearEnds(options.window), slice: null, volume: null }
  }
  if (page !== undefined)
    throw new SegSamError('INVALID_ARGUMENT', `${path} is a volume: choose by --slice, not --page.`)
  const volume = await volumeOf(path, options)
  const image = sliceOf(volume, path, options)
  const { axis, plane, spacing, window } = image
  const slice = { axis, index: image.index, plane, spacing, window, warnings: volume.warnings }
  return { image, window: undefined, slice, volume }
}

/**
 * Reads a volume as a whole.
 *
 * @throws SegSamError
 */
export async function readVolumeInput(path: string, options: Omit<InputOptions, 'page'>): Promise<Volume> {
  if (await isVolume(path)) return volumeOf(path, options)
  throw unexpected('INVALID_ARGUMENT', path, 'a picture', VOLUME_HELP, 'Pictures go to segment and label.')
}

function volumeOf(path: string, { series, index, header }: InputOptions): Promise<Volume> {
  return readVolume(path, {
    ...(series !== undefined && { series }),
    ...(index !== undefined && { index }),
    ...(header && { headers: header }),
  })
}

function linearEnds(choice: WindowChoice | undefined): [number, number] | undefined {
  const ends = choice && chosenWindow(choice, null)
  return ends?.kind === 'linear' ? [ends.low, ends.high] : undefined
}

function sliceOf(volume: Volume, path: string, options: InputOptions): VolumeSlice {
  const { axis } = options
  const count = volume.sliceCount(axis)
  const index = options.slice ?? (count > 1 ? undefined : 0)
  if (index === undefined || index >= count) {
    throw unexpected('INVALID_ARGUMENT', `--slice for ${path}`, options.slice, `0 to ${count - 1} along ${axis}`)
  }
  if (options.window) return volume.slice(axis, index, { window: options.window })
  if (volume.channels === 1 && volume.window) return volume.slice(axis, index, { window: 'file' })
  const plain = volume.slice(axis, index)
  // What is to be shown inverted needs a window, for the model's own does not invert.
  return volume.inverted ? volume.slice(axis, index, { window: intensityRange(plain) }) : plain
}

async function isVolume(path: string): Promise<boolean> {
  if (dicomWebAddress(path)) return true
  try {
    if ((await stat(path)).isDirectory()) return true
  } catch (cause) {
    throw new SegSamError('READ_FAILED', `The image cannot be read: ${(cause as Error).message}`, { cause })
  }
  return formatOf(await contentOf(path, path, MAX_VOXELS)) !== 'picture'
}

import { stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { dicomWebAddress, fetchDicom } from '../dicom/dicomweb.js'
import { readDicom } from '../dicom/read-dicom.js'
import { readDicomFiles, readDicomFolder } from '../dicom/series.js'
import { SegSamError, unexpected } from '../errors.js'
import { checkOptions } from '../options.js'
import type { Volume } from '../volume.js'
import { contentOf, type FileInput, isStream, nameOf } from './content.js'
import { formatOf } from './format.js'
import { readByItk } from './itk.js'
import { checkMaxVoxels, MAX_VOXELS } from './limits.js'
import { readNifti } from './nifti.js'

export interface ReadVolumeOptions {
  /** Which volume of a file that holds several (4D, or several values a voxel), from 0. Such a file is an error without it. */
  index?: number
  /** Which series of a folder that holds several: its place in the list of `listSeries`, from 0. */
  series?: number
  /** Files that declare more values are refused before they are decoded; by default 2^28, 512 x 512 x 1024. */
  maxVoxels?: number
  /** Of the requests to a DICOMweb server, for example `{ Authorization: 'Bearer ...' }`. */
  headers?: Readonly<Record<string, string>>
  /** Aborts requests to a DICOMweb server. */
  signal?: AbortSignal
}

/**
 * Reads a volume: a DICOM file with one frame or many, a folder with the files of a DICOM series, a series or instance on a
 * DICOMweb server (`https://server/dicom-web/studies/UID/series/UID`), a NIfTI file (`.nii`, `.nii.gz`), or, where
 * `@itk-wasm/image-io` is installed, a NRRD or MetaImage file (`.nrrd`, `.nhdr`, `.mha`, `.mhd`). What they are is told by
 * their content, not by their names.
 *
 * Values are physical: Hounsfield units for CT, after the modality LUT or rescale slope and intercept of DICOM, or the
 * `scl_slope` and `scl_inter` of NIfTI. See docs/files.md.
 *
 * @param input path of a file or folder, address, content of a file, or a stream of it
 * @throws SegSamError `READ_FAILED`, `UNSUPPORTED_FORMAT`, `INVALID_IMAGE` (damaged, truncated or too large),
 *   `INVALID_ARGUMENT` (an option, or a choice that the file needs)
 */
export async function readVolume(input: FileInput, options: ReadVolumeOptions = {}): Promise<Volume> {
  checkOptions(options, ['index', 'series', 'maxVoxels', 'headers', 'signal'])
  const { index, series, maxVoxels = MAX_VOXELS, headers = {}, signal } = options
  checkMaxVoxels(maxVoxels)
  checkPlace(index, 'index')
  checkPlace(series, 'series')
  checkInput(input)
  const name = nameOf(input)
  const address = dicomWebAddress(input)
  if (address) {
    const files = await fetchDicom(address, { headers, signal, maxVoxels })
    const held = files.map(({ name, content }) => ({ name, content: async () => content }))
    return readDicomFiles(name, held, { series, maxVoxels, skipped: 0 })
  }
  const folder = await folderOf(input)
  if (folder !== undefined) return readDicomFolder(folder, { series, maxVoxels })
  const content = await contentOf(input, name, maxVoxels)
  const format = formatOf(content)
  if (format === 'dicom') return readDicom(content, name, { maxVoxels })
  if (format === 'nifti') return readNifti(content, name, { index, maxVoxels })
  if (format === 'nrrd' || format === 'metaimage') return readByItk(content, format, name, input, { index, maxVoxels })
  throw new SegSamError(
    'UNSUPPORTED_FORMAT',
    `${name} is neither DICOM, NIfTI, NRRD nor MetaImage. Read PNG, JPEG, TIFF and WebP with readImage; convert other formats first.`,
  )
}

function checkPlace(value: unknown, name: string): void {
  if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= 0)) return
  throw unexpected('INVALID_ARGUMENT', name, value, 'a whole number from 0 on')
}

function checkInput(input: unknown): void {
  if (typeof input === 'string' || input instanceof URL || input instanceof Uint8Array || isStream(input)) return
  throw unexpected('INVALID_ARGUMENT', 'the file', input, 'a path, a Buffer or Uint8Array, or a stream')
}

async function folderOf(input: FileInput): Promise<string | undefined> {
  if (typeof input !== 'string' && !(input instanceof URL)) return undefined
  try {
    if (!(await stat(input)).isDirectory()) return undefined
  } catch (cause) {
    throw new SegSamError('READ_FAILED', `The file cannot be read: ${(cause as Error).message}`, { cause })
  }
  return typeof input === 'string' ? input : fileURLToPath(input)
}

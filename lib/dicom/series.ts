import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { SegSamError, unexpected } from '../errors.js'
import { formatOf } from '../files/format.js'
import { checkMaxVoxels, checkSize, MAX_VOXELS } from '../files/limits.js'
import type { Physical } from '../files/numbers.js'
import { checkOptions } from '../options.js'
import type { Volume } from '../volume.js'
import { parseDicom } from './dataset.js'
import { type DicomFrame, type DicomImage, dicomImage } from './frame.js'
import { hasPixels } from './image-attributes.js'
import { volumeOf } from './read-dicom.js'
import { stackOf } from './stack.js'

/** A DICOM series in a folder, as `listSeries` finds it. */
export interface Series {
  /** Series Instance UID; of files without one, `''`. */
  uid: string
  /** For example `CT`. */
  modality: string | null
  /** Columns and rows of its first image. */
  width: number
  height: number
  /** Images, all frames counted. */
  images: number
  /** Files of the series, in the order of their names. */
  files: readonly string[]
}

/** One file of a series, wherever it is. */
export interface DicomFile {
  /** In messages. */
  name: string
  content(): Promise<Uint8Array>
}

interface SeriesFrame extends DicomFrame {
  file: DicomFile
}

interface FoundSeries extends Series {
  frames: SeriesFrame[]
  image: DicomImage
}

interface FoundFolder {
  series: FoundSeries[]
  skipped: number
}

/**
 * The DICOM series of a folder and the folders in it, in the order of their first files. Files without an image are left
 * out.
 *
 * @throws SegSamError `READ_FAILED`, `INVALID_ARGUMENT`
 */
export async function listSeries(folder: string, options: { maxVoxels?: number } = {}): Promise<Series[]> {
  checkOptions(options, ['maxVoxels'])
  const { maxVoxels = MAX_VOXELS } = options
  checkMaxVoxels(maxVoxels)
  if (typeof folder !== 'string') throw unexpected('INVALID_ARGUMENT', 'folder', folder, 'a path')
  const { files, links } = await filesOf(folder)
  const { series } = await seriesOf(files.map(fileOnDisk), maxVoxels, links)
  return series.map(({ uid, modality, width, height, images, files }) => ({
    uid,
    modality,
    width,
    height,
    images,
    files,
  }))
}

/** @throws SegSamError `READ_FAILED`, `INVALID_IMAGE`, `UNSUPPORTED_FORMAT`, `INVALID_ARGUMENT` (series) */
export async function readDicomFolder(
  folder: string,
  { series: place, maxVoxels }: { series: number | undefined; maxVoxels: number },
): Promise<Volume> {
  const { files, links } = await filesOf(folder)
  return readDicomFiles(folder, files.map(fileOnDisk), { series: place, maxVoxels, skipped: links })
}

/**
 * @param name of all of them together, in messages
 * @param options.skipped files that are left out already
 * @throws SegSamError as `readDicomFolder`
 */
export async function readDicomFiles(
  name: string,
  files: readonly DicomFile[],
  { series: place, maxVoxels, skipped: before }: { series: number | undefined; maxVoxels: number; skipped: number },
): Promise<Volume> {
  const { series, skipped } = await seriesOf(files, maxVoxels, before)
  const chosen = chosenSeries(series, place, name)
  const stack = stackOf(chosen.frames)
  const [{ columns, rows, channels }] = stack.frames as [SeriesFrame]
  checkSize(name, [columns, rows, stack.frames.length, channels], maxVoxels)
  if (skipped > 0) {
    const message = `${skipped} files could not be read, or hold no image.`
    stack.warnings.push({ code: 'SKIPPED_FILES', message })
  }
  const parts: Physical[] = []
  let opened: { file: DicomFile; image: DicomImage } | undefined
  for (const { file, source } of stack.frames) {
    if (opened?.file !== file) opened = { file, image: await imageOf(file, maxVoxels) }
    parts.push(await opened.image.decode(source.frame - 1))
  }
  return volumeOf(stack, parts, chosen.image)
}

function chosenSeries(series: readonly FoundSeries[], place: number | undefined, folder: string): FoundSeries {
  if (series.length === 0) {
    throw new SegSamError(
      'UNSUPPORTED_FORMAT',
      `${folder} has no DICOM image. Give the folder of a series, or one file.`,
    )
  }
  const list = series.map(({ modality, images, width, height }, i) =>
    `${i}: ${images} images ${width} x ${height} ${modality ?? ''}`.trim(),
  )
  if (place === undefined && series.length > 1) {
    throw new SegSamError(
      'INVALID_ARGUMENT',
      `${folder} holds ${series.length} series (${list.join('; ')}). Choose one: readVolume(folder, { series: 0 }) reads the first.`,
    )
  }
  const chosen = series[place ?? 0]
  if (!chosen) throw unexpected('INVALID_ARGUMENT', 'series', place, `0 to ${series.length - 1} (${list.join('; ')})`)
  return chosen
}

async function seriesOf(files: readonly DicomFile[], maxVoxels: number, before: number): Promise<FoundFolder> {
  const found = new Map<string, FoundSeries>()
  let skipped = before
  for (const file of files) {
    const image = await imageOrNull(file, maxVoxels)
    if (!image) {
      skipped++
      continue
    }
    const uid = image.seriesInstanceUid ?? ''
    const [{ modality, columns: width, rows: height }] = image.frames as [DicomFrame]
    const series = found.get(uid) ?? { uid, modality, width, height, images: 0, files: [], frames: [], image }
    series.images += image.frames.length
    series.files = [...series.files, file.name]
    for (const frame of image.frames) series.frames.push({ ...frame, file })
    found.set(uid, series)
  }
  return { series: [...found.values()], skipped }
}

/** `null` for what is no image, or cannot be read as one. */
async function imageOrNull(file: DicomFile, maxVoxels: number): Promise<DicomImage | null> {
  try {
    return await imageOf(file, maxVoxels)
  } catch (error) {
    if (error instanceof SegSamError && error.code !== 'READ_FAILED') return null
    throw error
  }
}

async function imageOf({ name, content: read }: DicomFile, maxVoxels: number): Promise<DicomImage> {
  const content = await read()
  if (formatOf(content) !== 'dicom') throw new SegSamError('UNSUPPORTED_FORMAT', `${name} is no DICOM file.`)
  const parsed = parseDicom(content, name, maxVoxels)
  if (!hasPixels(parsed.dataset)) throw new SegSamError('UNSUPPORTED_FORMAT', `${name} holds no image.`)
  return dicomImage(parsed, name, maxVoxels)
}

function fileOnDisk(path: string): DicomFile {
  return {
    name: path,
    async content() {
      try {
        return await readFile(path)
      } catch (cause) {
        throw new SegSamError('READ_FAILED', `The file cannot be read: ${(cause as Error).message}`, { cause })
      }
    },
  }
}

/** Links to files count as files; `links` are how many lead to something else or nowhere. */
async function filesOf(folder: string): Promise<{ files: string[]; links: number }> {
  try {
    const files: string[] = []
    let links = 0
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      if (entry.isFile() || (entry.isSymbolicLink() && (await leadsToFile(path)))) files.push(path)
      else if (entry.isSymbolicLink()) links++
    }
    return { files: files.sort(), links }
  } catch (cause) {
    throw new SegSamError('READ_FAILED', `The folder cannot be read: ${(cause as Error).message}`, { cause })
  }
}

function leadsToFile(link: string): Promise<boolean> {
  return stat(link).then(
    (found) => found.isFile(),
    () => false,
  )
}

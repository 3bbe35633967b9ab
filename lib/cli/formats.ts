import { basename } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { ClassCard } from '../classes.js'
import { patientAndStudy } from '../dicom/write/modules.js'
import { placedSource, toRTStruct } from '../dicom/write/rtstruct.js'
import { toDicomSeg } from '../dicom/write/seg.js'
import type { DicomSegOptions } from '../dicom/write/seg-options.js'
import { sourceImages } from '../dicom/write/source.js'
import { SegSamError } from '../errors.js'
import type { ImageObject, ImageSegmentation } from '../image-segmentation.js'
import type { Mask } from '../mask.js'
import { toCSV } from '../measure/csv.js'
import { measure } from '../measure/measure.js'
import { measureObjects } from '../measure/measure-objects.js'
import type { ModelInfo } from '../model.js'
import { segmentsOf, type VolumeSegmentation } from '../volume/segmentation.js'
import type { Volume } from '../volume.js'
import { toCOCO } from '../write/coco.js'
import { toGeoJSON } from '../write/geojson.js'
import { labelTable, toITKSnapLabels } from '../write/label-table.js'
import { checkSides, toNIfTI } from '../write/nifti.js'
import { toSegNRRD } from '../write/nrrd.js'
import { toSVG } from '../write/svg.js'
import type { Input } from './input.js'
import { writeInto } from './out-folder.js'

/** Of volumes alone. */
const VOLUME_FORMATS = ['seg', 'rtstruct', 'nifti', 'nrrd'] as const
const IMAGE_FORMATS = ['coco', 'geojson', 'svg', 'csv'] as const

/** Those that hold a volume as a whole. */
export const FORMATS_OF_VOLUMES: readonly Format[] = [...VOLUME_FORMATS, 'csv']

export type Format = (typeof VOLUME_FORMATS)[number] | (typeof IMAGE_FORMATS)[number]

/** Names of the files written, by format. Empty where there is nothing to write. */
export type FormatFiles = Partial<Record<Format, string[]>>

/** Kinds of DICOM SEG, `--seg-type`. */
export type SegType = 'binary' | 'fractional' | 'labelmap'

export interface FormatOptions {
  format?: Format[]
  segType?: SegType
  keepPatient?: true
  out?: string
}

/** What was found, for every format. */
export interface FormatContent {
  path: string
  input: Input
  objects: readonly ImageObject[]
  /** Of the object of a mask, each pixel, where the model tells. */
  probabilities?: (mask: Mask) => Float32Array
  model: ModelInfo
  classes: readonly ClassCard[]
  /** Whether a person prompted the objects. */
  algorithmType: NonNullable<DicomSegOptions['algorithmType']>
}

/**
 * @param segTypes what the command can write as DICOM SEG
 * @param known formats that the command can write
 */
export function withFormatOptions(
  command: Command,
  segTypes: readonly SegType[],
  known: readonly Format[] = [...VOLUME_FORMATS, ...IMAGE_FORMATS],
): Command {
  const help = `write these files, too, into the folder of --out: ${known.join(',')}`
  return command
    .option('--format <names>', help, (text) => formats(text, known))
    .addOption(new Option('--seg-type <type>', 'kind of --format seg (default: binary)').choices(segTypes))
    .option('--keep-patient', 'repeat what DICOM files say of the patient and study in seg and rtstruct')
}

function formats(text: string, known: readonly Format[]): Format[] {
  const names = text.split(',').map((name) => name.trim().toLowerCase())
  const unknown = names.find((name) => !(known as readonly string[]).includes(name))
  if (unknown !== undefined) throw new InvalidArgumentError(`Allowed: ${known.join(', ')}, several as a,b,c.`)
  return [...new Set(names)] as Format[]
}

/**
 * To call before the model is loaded: refuses all that the writers would refuse for what the image is.
 *
 * @throws SegSamError `INVALID_ARGUMENT` for formats that the image cannot be written to; `UNSUPPORTED_FORMAT` where
 *   `keepPatient` meets a character set that is not read
 */
export function checkFormats(
  { format = [], keepPatient, segType, out }: FormatOptions,
  { volume }: Pick<Input, 'volume'>,
  path: string,
): void {
  if (format.length > 0 && out === undefined) {
    throw new SegSamError('INVALID_ARGUMENT', '--format needs a folder to write into: add --out FOLDER.')
  }
  if (keepPatient && !format.some(isDicom)) {
    throw new SegSamError('INVALID_ARGUMENT', '--keep-patient is given without --format seg or rtstruct. Leave it out.')
  }
  if (segType && !format.includes('seg')) {
    throw new SegSamError('INVALID_ARGUMENT', '--seg-type is given without --format seg. Leave it out.')
  }
  const volumetric = format.filter((name) => (VOLUME_FORMATS as readonly Format[]).includes(name))
  if (!volume && volumetric.length > 0) {
    throw new SegSamError(
      'INVALID_ARGUMENT',
      `${path} is a picture, which has no place in a patient; --format is ${volumetric.join(',')}; allowed for a ` +
        `picture: ${IMAGE_FORMATS.join(', ')}.`,
    )
  }
  if (volume) for (const name of format) checkSource(name, volume, keepPatient === true)
}

/** What a format needs of the volume, whatever is found in it. */
function checkSource(format: Format, volume: Volume, keepPatient: boolean): void {
  if (format === 'nifti') checkSides(volume)
  if (!isDicom(format)) return
  const source = format === 'rtstruct' ? placedSource(volume) : sourceImages(volume)
  patientAndStudy(source, keepPatient)
}

function isDicom(format: Format): boolean {
  return format === 'seg' || format === 'rtstruct'
}

type FileOptions = { format?: Format[]; keepPatient?: boolean; segType?: SegType }

/** Writes each format into the folder, and tells the names of its files. */
export async function writeFormats(
  folder: string,
  { format = [], keepPatient = false, segType = 'binary' }: FileOptions,
  content: FormatContent,
): Promise<FormatFiles> {
  const image = imageOf(content)
  const volume = volumeOf(content, segType)
  const dicom = { keepPatient, segType, algorithmType: content.algorithmType }
  return writeAll(folder, format, async (name) => {
    if (name === 'csv' && !volume) return { [CSV_FILE]: toCSV(measureObjects(image)) }
    return filesOfImage(name, image, content.classes) ?? (volume ? filesOfVolume(name, volume, dicom) : {})
  })
}

/** The same for what was found in a volume as a whole. Objects without a voxel are left out. */
export async function writeVolumeFormats(
  folder: string,
  { format = [], keepPatient = false, segType = 'binary' }: FileOptions,
  segmentation: VolumeSegmentation,
  algorithmType: FormatContent['algorithmType'],
): Promise<FormatFiles> {
  const segments = segmentation.segments.filter(({ mask }) => mask.count > 0)
  return writeAll(folder, format, async (name) => {
    if (segments.length === 0) return {}
    return filesOfVolume(name, { ...segmentation, segments }, { keepPatient, segType, algorithmType })
  })
}

const SEG_TYPES = { binary: 'BINARY', fractional: 'FRACTIONAL', labelmap: 'LABELMAP' } as const

const CSV_FILE = 'measurements.csv'

/** By file name. */
type Contents = Record<string, string | Buffer>

async function writeAll(
  folder: string,
  formats: readonly Format[],
  contentsOf: (format: Format) => Promise<Contents>,
): Promise<FormatFiles> {
  const files: FormatFiles = {}
  for (const name of formats) {
    const made = await contentsOf(name)
    for (const [file, data] of Object.entries(made)) await writeInto(folder, file, data)
    files[name] = Object.keys(made)
  }
  return files
}

/** For the report: the names of the files, and of the formats for which there was nothing to write. */
export function writtenFiles(formats: FormatFiles): string[] {
  return Object.entries(formats).flatMap(([format, files]) =>
    files.length > 0 ? files : [`(nothing for ${format}: no object has a pixel)`],
  )
}

/** `null` for a format of volumes. */
function filesOfImage(format: Format, image: ImageSegmentation, classes: readonly ClassCard[]): Contents | null {
  if (format === 'coco') return { 'coco.json': json(toCOCO(image, { classes: namedClasses(image, classes) })) }
  if (format === 'geojson') return { 'objects.geojson': json(toGeoJSON(image)) }
  if (format === 'svg') return { 'objects.svg': toSVG(image) }
  return null
}

async function filesOfVolume(
  format: Format,
  volume: VolumeSegmentation,
  { segType, ...dicom }: Pick<DicomSegOptions, 'keepPatient' | 'algorithmType'> & { segType: SegType },
): Promise<Contents> {
  if (format === 'csv') return { [CSV_FILE]: toCSV(measure(volume)) }
  if (format === 'seg') return { 'segmentation.dcm': await toDicomSeg(volume, { ...dicom, type: SEG_TYPES[segType] }) }
  if (format === 'rtstruct') return { 'rtstruct.dcm': await toRTStruct(volume, dicom) }
  if (format === 'nrrd') return { 'segmentation.seg.nrrd': await toSegNRRD(volume) }
  return {
    'segmentation.nii.gz': await toNIfTI(volume, { overlaps: 'layers' }),
    'segmentation.json': json(labelTable(volume)),
    'segmentation.label.txt': toITKSnapLabels(volume),
  }
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}

/** Those of the model, so that ids are the same for every image. */
function namedClasses({ objects }: ImageSegmentation, classes: readonly ClassCard[]) {
  const known = new Set(classes.map(({ id }) => id))
  return objects.every((object) => !object.class || known.has(object.class.id)) ? classes : undefined
}

function imageOf({ path, input, objects, model }: FormatContent): ImageSegmentation {
  const spacing = input.slice?.spacing
  return { image: { ...input.image, ...(spacing && { spacing }) }, name: basename(path), objects, model }
}

function volumeOf(
  { input: { volume, slice }, objects, model, probabilities }: FormatContent,
  segType: SegType,
): VolumeSegmentation | null {
  const found = objects.filter(({ mask }) => mask.area > 0)
  if (!volume || !slice || found.length === 0) return null
  const share = segType === 'fractional' && probabilities
  const segments = segmentsOf(volume, slice, found, share ? ({ mask }) => share(mask) : undefined)
  return { volume, segments, model }
}

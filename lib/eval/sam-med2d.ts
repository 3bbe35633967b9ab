import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, dirname, join, parse } from 'node:path'
import { z } from 'zod'
import { SegSamError } from '../errors.js'
import { type MedicalImage, readImage } from '../image.js'
import { Mask } from '../mask.js'
import {
  type Dataset,
  type LabelledImage,
  type LabelledObject,
  MIN_PIXELS,
  MIN_PROMPTED_PIXELS,
  type Split,
} from './labelled-image.js'

const TRAIN = 'image2label_train.json'
const TEST = 'label2image_test.json'
const NUMBERS = 'SAMed2D_v1_class_mapping_id.json'

/** For each source of SA-Med2D-20M the number of each of its classes. */
type ClassNumbers = Record<string, Record<string, number>>

export function isSamMed2d(folder: string): boolean {
  return [TRAIN, TEST].some((file) => existsSync(join(folder, file)))
}

/**
 * The layout of SAM-Med2D and SA-Med2D-20M: `image2label_train.json` maps an image to its masks,
 * `label2image_test.json` a mask to its image. A mask's file name tells its class; each mask is one object. What else is
 * in an image is not known, so that no class counts as absent.
 *
 * @throws SegSamError `DATASET_INVALID`
 */
export async function openSamMed2d(folder: string, name: string, split: Split): Promise<Dataset> {
  const hash = createHash('sha256')
  const read = async <T>(file: string, schema: z.ZodType<T>): Promise<T | undefined> => {
    if (!existsSync(join(folder, file))) return undefined
    const text = await readFile(join(folder, file), 'utf8')
    hash.update(text)
    return parsed(text, schema, join(folder, file))
  }
  const masksOf = new Map<string, string[]>()
  const add = (image: string, masks: readonly string[]) => masksOf.set(image, [...(masksOf.get(image) ?? []), ...masks])
  if (split !== 'test') {
    const train = await read(TRAIN, z.record(z.string(), z.array(z.string())))
    for (const [image, masks] of Object.entries(train ?? {})) add(image, masks)
  }
  if (split !== 'train') {
    const test = await read(TEST, z.record(z.string(), z.string()))
    for (const [mask, image] of Object.entries(test ?? {})) add(image, [mask])
  }
  const numbers = (await read(NUMBERS, z.record(z.string(), z.record(z.string(), z.coerce.number())))) ?? {}
  const images = [...masksOf]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([image, masks]) => ({
      set: name,
      name: parse(image).name,
      ...subjectAndModality(parse(image).name),
      spacing: null,
      read: () => readMasks(folder, image, masks, numbers),
    }))
  return { name, hash: hash.digest('hex'), images }
}

function parsed<T>(text: string, schema: z.ZodType<T>, path: string): T {
  try {
    return schema.parse(JSON.parse(text))
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message
    throw new SegSamError('DATASET_INVALID', `${path} is not a list of SAM-Med2D: ${reason}`, { cause })
  }
}

/** SA-Med2D-20M's `<modality>_<kind>--<source>--<case>--<axis>_<slice>`, or SAM-Med2D's `<case>_<slice>`. */
function subjectAndModality(stem: string): { subject: string; modality: string } {
  const parts = stem.split('--')
  if (parts.length >= 3) return { subject: parts.slice(1, 3).join('--'), modality: parts[0]!.replace(/_00$/, '') }
  return { subject: stem.replace(/_\d+$/, ''), modality: 'unknown' }
}

async function readMasks(
  folder: string,
  imagePath: string,
  maskPaths: readonly string[],
  numbers: ClassNumbers,
): Promise<LabelledImage> {
  const image = await readImage(found(folder, imagePath))
  const objects: LabelledObject[] = []
  const present = new Set<string>()
  const leftOut: string[] = []
  for (const [i, path] of maskPaths.entries()) {
    try {
      const id = classOfMask(path, imagePath, numbers)
      const mask = await readMask(found(folder, path), image)
      if (mask.area >= MIN_PIXELS) present.add(id)
      if (mask.area >= MIN_PROMPTED_PIXELS) objects.push({ number: i + 1, class: id, mask: () => mask })
    } catch (error) {
      if (!(error instanceof SegSamError)) throw error
      leftOut.push(error.message)
    }
  }
  return { image, objects, present: [...present], absent: null, leftOut }
}

/**
 * SAM-Med2D: `<image>_<class>_<instance>.png`. SA-Med2D-20M: `<image>--<number>_<instance>.png`. Class names may contain
 * underscores, so the image's name is taken off.
 *
 * @throws SegSamError `DATASET_INVALID`
 */
export function classOfMask(maskPath: string, imagePath: string, numbers: ClassNumbers): string {
  const [mask, image] = [parse(maskPath).name, parse(imagePath).name]
  const match = mask.startsWith(image) ? /^(?:--|_)(.+)_\d+$/.exec(mask.slice(image.length)) : null
  if (!match) {
    throw new SegSamError(
      'DATASET_INVALID',
      `${maskPath} is not called ${image}_<class>_<instance>.png, as a mask of ${imagePath} has to be. Rename it.`,
    )
  }
  const name = match[1]!
  return (/^\d+$/.test(name) ? nameOfNumber(Number(name), maskPath, image, numbers) : name).replaceAll(
    /[^\p{L}\p{N}_]+/gu,
    '_',
  )
}

function nameOfNumber(number: number, maskPath: string, image: string, numbers: ClassNumbers): string {
  const source = image.split('--')[1] ?? ''
  const name = Object.entries(numbers[source] ?? {}).find(([, listed]) => listed === number)?.[0]
  if (name !== undefined) return name
  throw new SegSamError(
    'DATASET_INVALID',
    `${maskPath} has class number ${number}, which ${NUMBERS} does not list for '${source}'. ` +
      'Put the file of the data set beside its lists.',
  )
}

/** The lists give paths from the folder itself, from its parent, or from where the set once lay. */
function found(folder: string, path: string): string {
  const places = [
    join(folder, path),
    join(dirname(folder), path),
    join(folder, basename(dirname(path)), basename(path)),
  ]
  const place = places.find(existsSync)
  if (place !== undefined) return place
  throw new SegSamError('DATASET_INVALID', `${path}, named in the lists of ${folder}, is not there. Restore the file.`)
}

async function readMask(path: string, image: MedicalImage): Promise<Mask> {
  const { data, width, height, channels } = await readImage(path)
  if (width !== image.width || height !== image.height) {
    throw new SegSamError(
      'DATASET_INVALID',
      `${path} has ${width} x ${height} pixels, its image ${image.width} x ${image.height}: both must have one size. ` +
        'Export the mask again at the size of the image.',
    )
  }
  const mask = new Mask(width, height, new Uint8Array(width * height))
  for (const [i, value] of data.entries()) if (value > 0) mask.data[Math.floor(i / channels)] = 1
  return mask
}

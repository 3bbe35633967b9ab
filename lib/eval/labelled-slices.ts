import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join, parse } from 'node:path'
import sharp from 'sharp'
import { z } from 'zod'
import { SegSamError } from '../errors.js'
import { readImage } from '../image.js'
import { Mask } from '../mask.js'
import {
  type Dataset,
  type LabelledImage,
  type LabelledObject,
  MIN_PIXELS,
  MIN_PROMPTED_PIXELS,
  type Split,
} from './labelled-image.js'

const spacing = z.tuple([z.number().positive(), z.number().positive()])

const descriptionSchema = z.object({
  modality: z.string().min(1),
  labels: z.enum(['semantic', 'instances']),
  classes: z.array(z.object({ value: z.int().positive(), id: z.string().min(1) })).min(1),
  spacing_mm: z
    .union([spacing, z.record(z.string(), spacing)])
    .nullish()
    .transform((value) => value ?? null),
  split: z.object({ train: z.array(z.string()), test: z.array(z.string()) }),
  unlabelled: z.record(z.string(), z.array(z.string())).default({}),
})

type Description = z.infer<typeof descriptionSchema>

/**
 * A folder with `dataset.json`, `images/<subject>[-<series>]_<slice>.png` and label maps of the same names in `labels/`.
 *
 * @throws SegSamError `DATASET_INVALID`
 */
export async function openLabelledSlices(folder: string, name: string, split: Split): Promise<Dataset> {
  const text = await readFile(join(folder, 'dataset.json'), 'utf8')
  const description = describe(text, folder)
  const subjects = split === 'all' ? null : new Set(description.split[split])
  const files = (await filesOf(join(folder, 'images'))).filter((file) => file.endsWith('.png')).sort()
  const images = files.flatMap((file) => {
    const stem = parse(file).name
    const series = stem.replace(/_[^_]*$/, '')
    const subject = series.split('-', 1)[0]!
    if (subjects && !subjects.has(subject)) return []
    const { spacing_mm } = description
    return {
      set: name,
      name: stem,
      subject,
      modality: modalityOf(description, series),
      spacing: Array.isArray(spacing_mm) ? spacing_mm : (spacing_mm?.[series] ?? null),
      read: () => readPair(folder, file, description, description.unlabelled[subject] ?? []),
    }
  })
  return { name, hash: createHash('sha256').update(text).digest('hex'), images }
}

function describe(text: string, folder: string): Description {
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (cause) {
    const reason = (cause as Error).message
    throw new SegSamError('DATASET_INVALID', `dataset.json of ${folder} is not JSON: ${reason}. Mend the file.`, {
      cause,
    })
  }
  const parsed = descriptionSchema.safeParse(content)
  if (parsed.success) return parsed.data
  throw new SegSamError(
    'DATASET_INVALID',
    `dataset.json of ${folder} is not as docs/evaluation.md describes it:\n${z.prettifyError(parsed.error)}`,
  )
}

async function filesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (cause) {
    throw new SegSamError('DATASET_INVALID', `The images cannot be listed: ${(cause as Error).message}`, { cause })
  }
}

/** "ct, pet (given in the series name)" stands for several: the series then is called `<subject>-<modality>`. */
function modalityOf({ modality }: Description, series: string): string {
  if (!modality.includes('series name')) return modality
  return series.includes('-') ? series.slice(series.indexOf('-') + 1) : 'unknown'
}

async function readPair(
  folder: string,
  file: string,
  description: Description,
  unlabelled: readonly string[],
): Promise<LabelledImage> {
  const image = await readImage(join(folder, 'images', file))
  const labelPath = join(folder, 'labels', file)
  const labels = await readLabelMap(labelPath)
  if (labels.width !== image.width || labels.height !== image.height) {
    throw new SegSamError(
      'DATASET_INVALID',
      `${labelPath} has ${labels.width} x ${labels.height} pixels, its image ${image.width} x ${image.height}: ` +
        'both must have one size. Export the label map again at the size of the image.',
    )
  }
  if (description.labels === 'instances') {
    const [{ id }] = description.classes as [Description['classes'][number]]
    const areas = areasOf(labels)
    const objects = [...areas].sort(([a], [b]) => a - b).map(([value]) => value)
    return {
      image,
      objects: objects
        .filter((value) => areas.get(value)! >= MIN_PROMPTED_PIXELS)
        .map((value) => ({ number: value, class: id, mask: () => maskOf(labels, value) })),
      present: objects.length > 0 ? [id] : [],
      absent: objects.length > 0 ? [] : [id],
      leftOut: [],
    }
  }
  return { image, ...readClasses(labels, labelPath, description, unlabelled), leftOut: [] }
}

function readClasses(
  labels: LabelMap,
  path: string,
  { classes }: Description,
  unlabelled: readonly string[],
): Pick<LabelledImage, 'objects' | 'present' | 'absent'> {
  const areas = areasOf(labels)
  const classOf = new Map(classes.map(({ value, id }) => [value, id]))
  const unknown = [...areas.keys()].find((value) => !classOf.has(value))
  if (unknown !== undefined) {
    throw new SegSamError(
      'DATASET_INVALID',
      `${path} has label value ${unknown}; dataset.json has classes ${[...classOf.keys()].sort((a, b) => a - b).join(', ')}. ` +
        'Add the class there, or set these pixels to 0.',
    )
  }
  const objects: LabelledObject[] = []
  const present: string[] = []
  const absent: string[] = []
  for (const [value, id] of classOf) {
    if (!areas.has(value)) {
      if (!unlabelled.includes(id)) absent.push(id)
      continue
    }
    const piece = maskOf(labels, value).largestComponent()
    if (piece.area >= MIN_PIXELS) present.push(id)
    if (piece.area >= MIN_PROMPTED_PIXELS) objects.push({ number: value, class: id, mask: () => piece })
  }
  return { objects, present, absent }
}

interface LabelMap {
  data: Uint8Array | Uint16Array
  width: number
  height: number
}

async function readLabelMap(path: string): Promise<LabelMap> {
  const { data, width, height, channels } = await readImage(path)
  const { isPalette, bitsPerSample = 8 } = await sharp(path).metadata()
  const isLabelMap = (data instanceof Uint8Array || data instanceof Uint16Array) && channels === 1
  if (isLabelMap && !isPalette && bitsPerSample >= 8) return { data, width, height }
  throw new SegSamError(
    'DATASET_INVALID',
    `${path} has ${channels} channels of ${bitsPerSample} bits${isPalette ? ' and a palette' : ''}; a label map has one ` +
      'gray channel of 8 or 16 bits, whose values are the labels. Save it as such.',
  )
}

/** Pixels of each value but 0. */
function areasOf({ data }: LabelMap): Map<number, number> {
  const areas = new Uint32Array(0x10000)
  for (const value of data) areas[value]!++
  return new Map([...areas.entries()].filter(([value, area]) => value > 0 && area > 0))
}

function maskOf({ data, width, height }: LabelMap, value: number): Mask {
  return new Mask(
    width,
    height,
    Uint8Array.from(data, (label) => (label === value ? 1 : 0)),
  )
}

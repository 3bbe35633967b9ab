import { SegSamError } from '../errors.js'
import type { MedicalImage } from '../image.js'
import type { SegSam } from '../model.js'
import type { Hit, Scene } from '../scene.js'
import type { Dataset, LabelledImage, LabelledObject, ListedImage } from './labelled-image.js'
import { diceOf, ellipseInBox, type Ruler, rulerFor, scoreMask } from './metrics.js'
import { type Answer, type PromptKind, promptObjects, randomFor, sampleOf } from './prompts.js'
import type { ImageRecord, Naming, ObjectRecord, RecordFile } from './records.js'

export interface MeasureOptions {
  prompts: readonly PromptKind[]
  /** Of every random choice: objects and points. */
  seed: number
  /** Objects an image, at most; `null`: all. */
  limit: number | null
  /** Of the normalised surface distance, in millimetres where the spacing is known, else pixels. */
  tolerance: number
  /** The first point of a point prompt gives three masks, of which the most trusted counts. */
  multimask: boolean
  /** Images encoded in one pass. */
  batch: number
  /** Told before each image: how many there are, and how many are done. */
  onProgress?: (done: number, total: number, image: ListedImage) => void
}

/** Something that was not measured, and what to do about it. */
export interface LeftOut {
  what: string
  why: string
}

/** What a decode of that many masks holds in memory: prompts beyond it go into the next. */
const MASK_BYTES = 2 ** 26
const MAX_PROMPTS = 32

/** Measures the images that the file has no record of, and appends theirs. What cannot be read is left out. */
export async function measure(
  model: SegSam,
  datasets: readonly Dataset[],
  file: RecordFile,
  options: MeasureOptions,
): Promise<LeftOut[]> {
  const images = datasets.flatMap((dataset) => dataset.images)
  const waiting = images.filter(({ set, name }) => !file.has(set, name))
  const done = images.length - waiting.length
  const leftOut: LeftOut[] = []
  for (let start = 0; start < waiting.length; start += options.batch) {
    const listed = waiting.slice(start, start + options.batch)
    options.onProgress?.(done + start, images.length, listed[0]!)
    const read = await Promise.all(listed.map(readOrWhy))
    const scenes = await encodeOrWhy(model, read)
    for (const [i, scene] of scenes.entries()) {
      const labelled = read[i]!
      if (scene instanceof SegSamError || labelled instanceof SegSamError) {
        leftOut.push({ what: `${listed[i]!.set}/${listed[i]!.name}`, why: (scene as SegSamError).message })
        continue
      }
      using current = scene
      await file.append(await measureImage(model, current, listed[i]!, labelled, options))
    }
  }
  return leftOut
}

/** The objects that are prompted: all, or a random choice of `limit`. */
function chosenObjects({ set, name }: ListedImage, objects: LabelledObject[], { seed, limit }: MeasureOptions) {
  if (limit === null || objects.length <= limit) return objects
  return sampleOf(objects, limit, randomFor(seed, set, name))
}

/** The answers to an object's prompts are the same whenever they are asked for. */
export function askAbout(
  scene: Scene,
  { set, name }: ListedImage,
  objects: readonly LabelledObject[],
  options: Pick<MeasureOptions, 'prompts' | 'seed' | 'multimask'>,
): Promise<Map<PromptKind, Answer[]>> {
  const targets = objects.map((object) => ({
    truth: object.mask(),
    random: randomFor(options.seed, set, name, object.number),
  }))
  return promptObjects(scene, targets, options.prompts, options)
}

async function measureImage(
  model: SegSam,
  scene: Scene,
  listed: ListedImage,
  labelled: LabelledImage,
  options: MeasureOptions,
): Promise<ImageRecord> {
  const ruler = rulerFor(listed.spacing, options.tolerance)
  const cards = new Set(model.classes.map(({ id }) => id))
  const chosen = chosenObjects(listed, labelled.objects, options)
  const atOnce = Math.max(1, Math.min(MAX_PROMPTS, Math.floor(MASK_BYTES / (scene.width * scene.height))))
  const objects: ObjectRecord[] = []
  for (let start = 0; start < chosen.length; start += atOnce) {
    const some = chosen.slice(start, start + atOnce)
    const answers = await askAbout(scene, listed, some, options)
    for (const [i, object] of some.entries()) {
      const answered = [...answers].map(([kind, all]) => [kind, all[i]!.hit] as const)
      objects.push(recordOf(object, answered, labelled, ruler, cards))
    }
  }
  const { set, name: image, subject, modality } = listed
  const absenceKnown = labelled.absent !== null
  return { set, image, subject, modality, unit: ruler.unit, absenceKnown, objects, leftOut: labelled.leftOut }
}

function recordOf(
  object: LabelledObject,
  answers: readonly (readonly [PromptKind, Hit])[],
  labelled: LabelledImage,
  ruler: Ruler,
  cards: ReadonlySet<string>,
): ObjectRecord {
  const truth = object.mask()
  const prompts = answers.map(([kind, hit]) => [
    kind,
    {
      binary: scoreMask(hit.mask, truth, ruler),
      semantic: hit.semanticMask && scoreMask(hit.semanticMask, truth, ruler),
      predictedIou: hit.predictedIou,
      agreement: hit.agreement,
      naming: namingOf(hit, object.class, labelled, cards),
    },
  ])
  return {
    number: object.number,
    class: object.class,
    area: truth.area,
    ellipseDice: diceOf(ellipseInBox(truth).iou(truth)),
    prompts: Object.fromEntries(prompts),
  }
}

/** The prompted object's class is left out of the others: whether there is a second one of it is not asked. */
function namingOf(
  hit: Hit,
  prompted: string,
  { present, absent }: Pick<LabelledImage, 'present' | 'absent'>,
  cards: ReadonlySet<string>,
): Naming | null {
  if (hit.labelReason === 'untrained' || !cards.has(prompted)) return null
  const ranked = hit.label ? [hit.label, ...hit.candidates] : hit.candidates
  const named = hit.others.map(({ id }) => id).filter((id) => id !== prompted)
  return {
    rank: ranked.findIndex(({ id }) => id === prompted),
    probability: ranked[0]!.probability,
    others: {
      found: named.filter((id) => present.includes(id)),
      wrong: named.filter((id) => absent?.includes(id)),
      missed: present.filter((id) => id !== prompted && cards.has(id) && !named.includes(id)),
    },
  }
}

async function readOrWhy(listed: ListedImage): Promise<LabelledImage | SegSamError> {
  try {
    return await listed.read()
  } catch (error) {
    if (error instanceof SegSamError) return error
    throw error
  }
}

/** In one pass; one by one where the batch holds an image that cannot be encoded. */
async function encodeOrWhy(
  model: SegSam,
  read: readonly (LabelledImage | SegSamError)[],
): Promise<(Scene | SegSamError)[]> {
  const images = read.flatMap((entry) => (entry instanceof SegSamError ? [] : [entry.image]))
  const scenes = images.length === 0 ? [] : await encoded(model, images)
  return read.map((entry) => (entry instanceof SegSamError ? entry : scenes.shift()!))
}

async function encoded(model: SegSam, images: readonly MedicalImage[]): Promise<(Scene | SegSamError)[]> {
  try {
    return await model.encode(images)
  } catch (error) {
    if (!(error instanceof SegSamError && error.code === 'INVALID_IMAGE')) throw error
    if (images.length === 1) return [error]
    const scenes: (Scene | SegSamError)[] = []
    for (const image of images) scenes.push(...(await encoded(model, [image])))
    return scenes
  }
}

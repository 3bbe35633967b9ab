import sharp from 'sharp'
import { SegSamError } from '../errors.js'
import { defaultWindowOf, type MedicalImage } from '../image.js'
import type { Mask } from '../mask.js'
import type { SegSam } from '../model.js'
import { displayPixels } from '../overlay.js'
import type { Prompt } from '../prompts.js'
import type { Dataset, LabelledObject } from './labelled-image.js'
import { askAbout, type MeasureOptions } from './measure.js'
import type { Answer } from './prompts.js'
import type { Case } from './report.js'

/* Okabe and Ito, Color Universal Design (2008), as in `drawOverlay`. */
export const COLOURS = { truth: '#009E73', mask: '#E69F00', semanticMask: '#56B4E9', prompt: '#F0E442' } as const

/** Longest side of a picture, in its pixels. */
const SIDE = 360

/** A picture of every case, as a data URI; the objects are prompted again, as they were when they were measured. */
export async function picturesOf(
  model: SegSam,
  datasets: readonly Dataset[],
  cases: readonly Case[],
  options: Pick<MeasureOptions, 'seed' | 'multimask'>,
): Promise<Map<Case, string>> {
  const pictures = new Map<Case, string>()
  for (const one of cases) {
    const listed = datasets
      .flatMap(({ images }) => images)
      .find(({ set, name }) => set === one.set && name === one.image)
    try {
      const labelled = await listed!.read()
      const object = labelled.objects.find(({ number }) => number === one.number)!
      using scene = await model.encode(labelled.image)
      const answers = await askAbout(scene, listed!, [object], { ...options, prompts: [one.prompt] })
      pictures.set(
        one,
        await drawn(labelled.image, defaultWindowOf(model.info, labelled.image), object, answers.get(one.prompt)![0]!),
      )
    } catch (error) {
      if (!(error instanceof SegSamError)) throw error
    }
  }
  return pictures
}

/** The part of the image around the object, its outline and those found, and the prompt; a WebP as data URI. */
async function drawn(
  image: MedicalImage,
  window: [number, number] | undefined,
  object: LabelledObject,
  { prompt, hit }: Answer,
): Promise<string> {
  const truth = object.mask()
  const crop = cropAround([truth, hit.mask, ...(hit.semanticMask ? [hit.semanticMask] : [])], prompt, image)
  const scale = SIDE / Math.max(crop.width, crop.height)
  const width = Math.max(1, Math.round(crop.width * scale))
  const height = Math.max(1, Math.round(crop.height * scale))
  const toPicture: ToPicture = (x, y) =>
    `${((x + 0.5 - crop.left) * scale).toFixed(1)} ${((y + 0.5 - crop.top) * scale).toFixed(1)}`
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" fill="none" stroke-width="2">` +
    `<path d="${promptPath(prompt, toPicture)}" stroke="${COLOURS.prompt}" stroke-width="1.5"/>` +
    `<path d="${outline(truth, toPicture)}" stroke="${COLOURS.truth}"/>` +
    `<path d="${outline(hit.mask, toPicture)}" stroke="${COLOURS.mask}"/>` +
    `${hit.semanticMask ? `<path d="${outline(hit.semanticMask, toPicture)}" stroke="${COLOURS.semanticMask}" stroke-dasharray="5 4"/>` : ''}</svg>`
  const content = await sharp(displayPixels(image, window), {
    raw: { width: image.width, height: image.height, channels: 3 },
  })
    .extract(crop)
    .resize(width, height, { fit: 'fill', kernel: 'cubic' })
    .composite([{ input: Buffer.from(svg), left: 0, top: 0 }])
    .webp({ quality: 80 })
    .toBuffer()
  return `data:image/webp;base64,${content.toString('base64')}`
}

interface Crop {
  left: number
  top: number
  width: number
  height: number
}

/** With a margin of a third, at least 8 pixels, inside the image. */
function cropAround(masks: readonly Mask[], { points = [] }: Prompt, size: { width: number; height: number }): Crop {
  const boxes = [
    ...masks.flatMap(({ bbox }) => (bbox ? [bbox] : [])),
    ...points.map(({ x, y }) => [Math.round(x), Math.round(y), Math.round(x), Math.round(y)] as const),
  ]
  const [x0, y0] = [Math.min(...boxes.map(([x]) => x)), Math.min(...boxes.map(([, y]) => y))]
  const [x1, y1] = [Math.max(...boxes.map(([, , x]) => x)), Math.max(...boxes.map(([, , , y]) => y))]
  const margin = Math.max(8, Math.round(Math.max(x1 - x0, y1 - y0) / 3))
  const [left, top] = [Math.max(0, x0 - margin), Math.max(0, y0 - margin)]
  return {
    left,
    top,
    width: Math.min(size.width, x1 + margin + 1) - left,
    height: Math.min(size.height, y1 + margin + 1) - top,
  }
}

type ToPicture = (x: number, y: number) => string

function outline(mask: Mask, toPicture: ToPicture): string {
  const rings = mask.toPolygons().flatMap(({ outer, holes }) => [outer, ...holes])
  return rings.map((ring) => `M${ring.map(([x, y]) => toPicture(x, y)).join('L')}Z`).join('')
}

/** The box, and a + or - at each point. */
function promptPath({ box, points = [] }: Prompt, toPicture: ToPicture): string {
  const marks = points.map(({ x, y, label }) => {
    const at = toPicture(x, y)
    return `M${at}m-5 0h10${label === 0 ? '' : `M${at}m0 -5v10`}`
  })
  if (!box) return marks.join('')
  const [x0, y0, x1, y1] = box
  return `M${toPicture(x0, y0)}L${toPicture(x1, y0)}L${toPicture(x1, y1)}L${toPicture(x0, y1)}Z${marks.join('')}`
}

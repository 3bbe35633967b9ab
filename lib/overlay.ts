import { unexpected } from './errors.js'
import { automaticWindow, checkImage, checkWindow, type MedicalImage } from './image.js'
import type { Mask, Polygon } from './mask.js'
import { checkOptions } from './options.js'
import { type Lettering, loadLettering } from './overlay/lettering.js'
import { placeLabel, type Rect } from './overlay/placement.js'
import type { Prompt } from './prompts.js'
import { loadSharp } from './sharp.js'

/** What an overlay shows of one object. A hit of `scene.segment` is one; so is anything of this form. */
export interface OverlayObject {
  /** Drawn with a solid outline. */
  mask: Pick<Mask, 'bbox' | 'toPolygons'>
  /** Drawn with a dashed outline. */
  semanticMask?: Pick<Mask, 'bbox' | 'toPolygons'> | null | undefined
  /** Written beside the object, with its probability in per cent. */
  label?: { id: string; name: string; probability: number } | null | undefined
  /** Of the solid outline and of the frame around the name, `#RRGGBB`. Default: orange. */
  colour?: string | undefined
}

export interface OverlayOptions {
  /**
   * Intensities shown as black and white, as given to `model.encode`. Default: [0, 255] for 8-bit images, else the 0.5
   * and 99.5 percentiles.
   */
  window?: readonly [low: number, high: number] | undefined
  /** The prompts of the objects, in the same order; their boxes and points are drawn. */
  prompts?: readonly Prompt[] | undefined
  /** Longest side in pixels, 256 to 4096. By default 1024, or the image's own where that is larger, up to 2048. */
  size?: number | undefined
}

/* Okabe and Ito, Color Universal Design (2008): told apart with every common form of colour blindness. */
const ORANGE = '#E69F00'
const SKY_BLUE = '#56B4E9'
const YELLOW = '#F0E442'
const GREEN = '#009E73'
const VERMILION = '#D55E00'
const DARK = '#111111'
const WHITE = '#FFFFFF'

const LEGEND_HEIGHT = 40
const LABEL_SIZE = 22
const MIN_WIDTH = 520

/**
 * Draws what was found: the image, scaled to a comfortable size and windowed as the model sees it by default, with the outline of
 * each mask (solid, orange or a colour of its own), of each semantic mask (dashed blue), the prompts (yellow boxes;
 * green + and red - points) and the name and probability of each object, placed beside it. A legend stands below.
 *
 * @returns A PNG, 8-bit RGB.
 * @throws SegSamError `INVALID_IMAGE`, and `INVALID_ARGUMENT` for a size out of range or a list of prompts of another
 *   length than the objects
 */
export async function drawOverlay(
  image: MedicalImage,
  objects: readonly OverlayObject[],
  options: OverlayOptions = {},
): Promise<Buffer> {
  checkImage(image, 'image')
  checkOptions(options, ['window', 'prompts', 'size'])
  checkWindow(options.window)
  if (!Array.isArray(objects)) throw unexpected('INVALID_ARGUMENT', 'objects', objects, 'a list of hits')
  for (const [i, { colour }] of objects.entries()) {
    if (colour === undefined || (typeof colour === 'string' && /^#[0-9a-f]{6}$/i.test(colour))) continue
    throw unexpected('INVALID_ARGUMENT', `colour of objects[${i}]`, colour, '#RRGGBB')
  }
  const { width, height } = image
  const prompts = options.prompts ?? []
  if (prompts.length !== 0 && prompts.length !== objects.length) {
    throw unexpected('INVALID_ARGUMENT', 'number of prompts', prompts.length, `that of the objects, ${objects.length}`)
  }
  const scale = chooseScale(Math.max(width, height), options.size)
  const shown = { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) }
  const page = { width: Math.max(shown.width, MIN_WIDTH), height: shown.height + LEGEND_HEIGHT }
  const toPage = (x: number, y: number): [number, number] => [
    ((x + 0.5) * shown.width) / width,
    ((y + 0.5) * shown.height) / height,
  ]

  // Memory of the caller's is read before anything is waited for.
  const pixels = displayPixels(image, options.window)
  const shapes = [
    ...objects.map((object) => outlines(object, toPage)),
    ...prompts.map((prompt) => promptMarks(prompt, toPage)),
  ]
  const lettering = await loadLettering()
  const drawing = [
    ...shapes,
    ...labels(objects, prompts, toPage, { x: 0, y: 0, ...shown }, lettering),
    legend(objects, prompts, shown.height, page.width, lettering),
  ]
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${page.width}" height="${page.height}">${drawing.join('')}</svg>`

  const sharp = await loadSharp()
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .resize(shown.width, shown.height, { fit: 'fill', kernel: 'cubic' })
    .extend({ right: page.width - shown.width, bottom: LEGEND_HEIGHT, background: DARK })
    .composite([{ input: Buffer.from(svg), left: 0, top: 0 }])
    .removeAlpha()
    .png()
    .toBuffer()
}

function chooseScale(longest: number, size: number | undefined): number {
  if (size !== undefined && !(size >= 256 && size <= 4096)) {
    throw unexpected('INVALID_ARGUMENT', 'size', size, 'a number of pixels from 256 to 4096')
  }
  return (size ?? Math.min(Math.max(longest, 1024), 2048)) / longest
}

/** 8-bit RGB, gray repeated, alpha dropped; windowed as `model.encode` does it by default. */
export function displayPixels(image: MedicalImage, window = automaticWindow(image)): Uint8Array {
  const { data, width, height, channels } = image
  const [low, high] = window
  const factor = high > low ? 255 / (high - low) : 0
  const rgb = new Uint8ClampedArray(width * height * 3)
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      const value = data[pixel * channels + (channels === 1 ? 0 : channel)]!
      rgb[pixel * 3 + channel] = (value - low) * factor
    }
  }
  return new Uint8Array(rgb.buffer)
}

type ToPage = (x: number, y: number) => [number, number]

function outlines({ mask, semanticMask, colour = ORANGE }: OverlayObject, toPage: ToPage): string {
  const binary = outlinePath(mask.toPolygons(), toPage)
  const semantic = semanticMask ? outlinePath(semanticMask.toPolygons(), toPage) : ''
  return [
    binary && stroke(binary, { colour: DARK, width: 5, opacity: 0.6 }),
    binary && stroke(binary, { colour, width: 3 }),
    semantic && stroke(semantic, { colour: DARK, width: 4, dash: '10 8', opacity: 0.6 }),
    semantic && stroke(semantic, { colour: SKY_BLUE, width: 3, dash: '10 8' }),
  ].join('')
}

function outlinePath(polygons: Polygon[], toPage: ToPage): string {
  const rings = polygons.flatMap(({ outer, holes }) => [outer, ...holes])
  return rings.map((ring) => `M${ring.map(([x, y]) => pair(toPage(x, y))).join('L')}Z`).join('')
}

interface Stroke {
  colour: string
  width: number
  dash?: string
  opacity?: number
}

function stroke(path: string, { colour, width, dash, opacity = 1 }: Stroke): string {
  const dashes = dash ? ` stroke-dasharray="${dash}"` : ''
  return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="${width}" stroke-opacity="${opacity}" stroke-linejoin="round"${dashes}/>`
}

function promptMarks({ box, points }: Prompt, toPage: ToPage): string {
  const frame = box ? boxPath(box, toPage) : ''
  const marks = (points ?? []).map(({ x, y, label = 1 }) => {
    const [cx, cy] = toPage(x, y)
    const cross = label === 1 ? `M${cx - 5} ${cy}h10M${cx} ${cy - 5}v10` : `M${cx - 5} ${cy}h10`
    const disc = `<circle cx="${cx}" cy="${cy}" r="9" fill="${label === 1 ? GREEN : VERMILION}" stroke="${WHITE}" stroke-width="2"/>`
    return disc + stroke(cross, { colour: WHITE, width: 3 })
  })
  return [
    frame && stroke(frame, { colour: DARK, width: 4, opacity: 0.6 }),
    frame && stroke(frame, { colour: YELLOW, width: 2 }),
    ...marks,
  ].join('')
}

function boxPath([x0, y0, x1, y1]: NonNullable<Prompt['box']>, toPage: ToPage): string {
  const corners = [toPage(x0, y0), toPage(x1, y0), toPage(x1, y1), toPage(x0, y1)]
  return `M${corners.map(pair).join('L')}Z`
}

function labels(
  objects: readonly OverlayObject[],
  prompts: readonly Prompt[],
  toPage: ToPage,
  frame: Rect,
  lettering: Lettering,
): string[] {
  const extents = objects.map((object, i) => extent(object, prompts[i], toPage) ?? frame)
  const placed: Rect[] = []
  return objects.map(({ label, colour = ORANGE }, i) => {
    if (!label) return ''
    const text = `${lettering.canWrite(label.name) ? label.name : label.id} ${Math.round(label.probability * 100)} %`
    const size = { width: Math.ceil(lettering.width(text, LABEL_SIZE)) + 20, height: LABEL_SIZE + 14 }
    const anchor = extents[i]!
    const place = placeLabel(size, anchor, [...extents, ...placed], frame, 14)
    placed.push(place)
    const plate = `<rect x="${place.x}" y="${place.y}" width="${place.width}" height="${place.height}" rx="6" fill="${DARK}" stroke="${colour}" stroke-width="1.5"/>`
    const baseline = place.y + place.height / 2 + LABEL_SIZE * 0.34
    return (
      leader(place, anchor, colour) +
      plate +
      `<path d="${lettering.path(text, place.x + 10, baseline, LABEL_SIZE)}" fill="${WHITE}"/>`
    )
  })
}

/** Page rectangle around both masks and the prompt; `undefined` where there is nothing. */
function extent({ mask, semanticMask }: OverlayObject, prompt: Prompt | undefined, toPage: ToPage): Rect | undefined {
  const corners: [number, number][] = []
  for (const bbox of [mask.bbox, semanticMask?.bbox]) {
    if (bbox) corners.push(toPage(bbox[0] - 0.5, bbox[1] - 0.5), toPage(bbox[2] + 0.5, bbox[3] + 0.5))
  }
  if (prompt?.box) corners.push(toPage(prompt.box[0], prompt.box[1]), toPage(prompt.box[2], prompt.box[3]))
  for (const { x, y } of prompt?.points ?? []) corners.push(toPage(x, y))
  if (corners.length === 0) return undefined
  const xs = corners.map(([x]) => x)
  const ys = corners.map(([, y]) => y)
  const [x, y] = [Math.min(...xs), Math.min(...ys)]
  return { x, y, width: Math.max(...xs) - x, height: Math.max(...ys) - y }
}

/** A thin line from a label to the nearest edge of its object's frame. */
function leader(label: Rect, object: Rect, colour: string): string {
  const centre = { x: label.x + label.width / 2, y: label.y + label.height / 2 }
  const x = Math.min(Math.max(centre.x, object.x), object.x + object.width)
  const y = Math.min(Math.max(centre.y, object.y), object.y + object.height)
  return stroke(`M${pair([centre.x, centre.y])}L${pair([x, y])}`, { colour, width: 1.5 })
}

function legend(
  objects: readonly OverlayObject[],
  prompts: readonly Prompt[],
  top: number,
  width: number,
  lettering: Lettering,
): string {
  const middle = top + LEGEND_HEIGHT / 2
  const line = (x: number) => `M${x} ${middle}h36`
  // Where objects have colours of their own, no single one stands for their masks.
  const colour = objects.some((object) => object.colour) ? WHITE : ORANGE
  const entries: { name: string; mark: (x: number) => string }[] = [
    { name: 'mask', mark: (x) => stroke(line(x), { colour, width: 3 }) },
  ]
  if (objects.some(({ semanticMask }) => semanticMask)) {
    entries.push({ name: 'semantic mask', mark: (x) => stroke(line(x), { colour: SKY_BLUE, width: 3, dash: '10 8' }) })
  }
  if (prompts.length > 0) {
    entries.push({ name: 'prompt', mark: (x) => stroke(line(x), { colour: YELLOW, width: 2 }) })
  }
  let x = 12
  const drawn = entries.map(({ name, mark }) => {
    const entry = `${mark(x)}<path d="${lettering.path(name, x + 46, middle + 6, 17)}" fill="${WHITE}"/>`
    x += 46 + lettering.width(name, 17) + 30
    return entry
  })
  return `<rect y="${top}" width="${width}" height="${LEGEND_HEIGHT}" fill="${DARK}"/>${drawn.join('')}`
}

function pair([x, y]: [number, number]): string {
  return `${x.toFixed(2)} ${y.toFixed(2)}`
}

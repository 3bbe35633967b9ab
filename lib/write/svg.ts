import { checkImageSegmentation, type ImageObject, type ImageSegmentation } from '../image-segmentation.js'
import { corners } from './corners.js'

/**
 * The outlines of the objects as SVG of the size of the image, to lay over it: one group an object, with its name as
 * `title`, as `data-class` the id of its class, and its colour. Outlines follow the pixel edges, and the background is
 * transparent: `<img>` with the picture, and this at the same size above it.
 *
 * @throws SegSamError `INVALID_ARGUMENT`, `INVALID_IMAGE`
 */
export function toSVG(segmentation: ImageSegmentation): string {
  checkImageSegmentation(segmentation)
  const { image, objects } = segmentation
  const { width, height } = image
  // In units of the image: 1 in 400 of its longer side stays visible where it is scaled down.
  const scale = Math.max(width, height) / 400
  const groups = objects.map((object, i) => groupOf(object, i + 1, scale))
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">`,
    ...groups,
    '</svg>',
    '',
  ].join('\n')
}

function groupOf({ name, class: found, colour, mask }: ImageObject, number: number, scale: number): string {
  const kind = found ? ` data-class="${text(found.id)}"` : ''
  const rings = mask.toPolygons().flatMap(({ outer, holes }) => [outer, ...holes])
  const path = rings
    .map(
      (ring) =>
        `M${corners(ring)
          .map(([x, y]) => `${x} ${y}`)
          .join('L')}Z`,
    )
    .join('')
  const outline = `<path d="${path}" fill="none" fill-rule="evenodd" stroke="${colour}" stroke-width="${scale}" stroke-linejoin="round"/>`
  return [
    `<g id="object-${number}"${kind}>`,
    `<title>${text(name)}</title>`,
    ...(mask.bbox ? [outline, lettering(name, mask.bbox, colour, scale)] : []),
    '</g>',
  ].join('')
}

/** Above the object, or in it where the image ends. */
function lettering(name: string, [x0, y0]: readonly number[], colour: string, scale: number): string {
  const size = 10 * scale
  const y = Math.max(y0! - 2 * scale, size)
  const style = `font-family="sans-serif" font-size="${size}" fill="${colour}" stroke="#111111" stroke-width="${scale}" paint-order="stroke"`
  return `<text x="${x0}" y="${y}" ${style}>${text(name)}</text>`
}

/** Characters that XML does not allow are dropped. */
function text(value: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
  return value
    .replaceAll(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, '')
    .replaceAll(/[&<>"]/g, (each) => entities[each]!)
}

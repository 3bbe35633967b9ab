import { Mask } from '../mask.js'

/**
 * Fills small holes and removes small islands, both 8-connected and smaller than `minArea` pixels. As in
 * segment-anything's `remove_small_regions` the largest island stays where all are small, and background at the border
 * of the image counts as a hole, too.
 *
 * @returns `mask` itself where nothing is to be done
 */
export function withoutSmallRegions(mask: Mask, minArea: number): Mask {
  const background = new Mask(
    mask.width,
    mask.height,
    mask.data.map((value) => (value ? 0 : 1)),
  )
  const holes = smallRegions(background, minArea)
  const filled = holes ? painted(mask, holes.labels, (label) => holes.small.has(label), 1) : mask
  const islands = smallRegions(filled, minArea)
  if (!islands) return filled
  if (islands.small.size === islands.count) return filled.largestComponent()
  return painted(filled, islands.labels, (label) => islands.small.has(label), 0)
}

function smallRegions(mask: Mask, minArea: number) {
  const { labels, components } = mask.components()
  const small = new Set([...components.keys()].filter((i) => components[i]!.area < minArea).map((i) => i + 1))
  return small.size > 0 ? { labels, small, count: components.length } : null
}

function painted(mask: Mask, labels: Int32Array, isPainted: (label: number) => boolean, value: 0 | 1): Mask {
  return new Mask(
    mask.width,
    mask.height,
    mask.data.map((old, i) => (isPainted(labels[i]!) ? value : old)),
  )
}

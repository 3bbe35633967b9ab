import { type BoundingBox, Mask } from '../mask.js'
import type { CheckedRules } from './regions.js'

/** A mask that claims its pixels for a class. */
export interface Claim {
  /** COCO's run lengths: column-major, first run background. */
  counts: Uint32Array
  /** Of the mask, in pixels. */
  area: number
  /** `null`: no class claims it. */
  classIndex: number | null
  /** Each object of the class is told apart. */
  countable: boolean
  /** 0 to 1; where masks overlap the greater one takes the pixels. */
  evidence: number
}

/** Pixels that belong together: all of a class, one object of a countable class, or all that no class claims. */
export interface Group {
  classIndex: number | null
  countable: boolean
  /** In pixels. */
  area: number
  /** Inclusive pixel indices; `null` where nothing is left of the group. */
  bbox: BoundingBox | null
  /** Mean evidence of the claims, weighted by the pixels that each took. */
  confidence: number
}

interface Size {
  width: number
  height: number
}

/** Of a countable object this share must be left, or its mask is another view of objects that were found already. */
const VISIBLE_SHARE = 0.5

const UNCLAIMED = 1

/**
 * Divides the image among the claims, so that each pixel belongs to one group or to none. The claim of the greatest
 * evidence takes its pixels first, whatever the order of the list; what no class claims comes last.
 *
 * @param rulesOf what the regions of a class must be like
 * @returns (height, width) numbers of groups, 0 where no mask lies, and the groups: `groups[number - 1]`
 */
export function merged(
  size: Size,
  claims: readonly Claim[],
  rulesOf: (classIndex: number | null) => CheckedRules,
): { owner: Int32Array; groups: Group[] } {
  const owner = new Int32Array(size.width * size.height)
  const groups = [newGroup(null, false)]
  const shared = new Map<number, number>()
  for (const claim of claims.toSorted(byEvidence)) {
    let free = 0
    visitPixels(claim.counts, size, (pixel) => {
      if (owner[pixel] === 0) free++
    })
    if (free === 0 || (claim.countable && free < VISIBLE_SHARE * claim.area)) continue
    let number = UNCLAIMED
    if (claim.classIndex !== null) {
      number =
        (claim.countable ? undefined : shared.get(claim.classIndex)) ??
        groups.push(newGroup(claim.classIndex, claim.countable))
      if (!claim.countable) shared.set(claim.classIndex, number)
    }
    visitPixels(claim.counts, size, (pixel) => {
      if (owner[pixel] === 0) owner[pixel] = number
    })
    const group = groups[number - 1]!
    group.area += free
    group.confidence += (claim.evidence - group.confidence) * (free / group.area)
  }
  applyRules(owner, groups, size, rulesOf)
  return { owner, groups }
}

function newGroup(classIndex: number | null, countable: boolean): Group {
  return { classIndex, countable, area: 0, bbox: null, confidence: 0 }
}

/** A total order of all claims that differ, so that the result does not hang on their order in the list. */
function byEvidence(a: Claim, b: Claim): number {
  if ((a.classIndex === null) !== (b.classIndex === null)) return a.classIndex === null ? 1 : -1
  return (
    b.evidence - a.evidence ||
    a.area - b.area ||
    (a.classIndex ?? 0) - (b.classIndex ?? 0) ||
    a.counts.length - b.counts.length ||
    firstDifference(a.counts, b.counts)
  )
}

function firstDifference(a: Uint32Array, b: Uint32Array): number {
  const at = a.findIndex((count, i) => count !== b[i])
  return at < 0 ? 0 : a[at]! - b[at]!
}

/** Calls back with the row-major place of each pixel that is set. */
function visitPixels(counts: Uint32Array, { width, height }: Size, visit: (pixel: number) => void): void {
  let start = 0
  for (let run = 0; run < counts.length; run++) {
    const end = start + counts[run]!
    if (run % 2 === 1) {
      for (let place = start; place < end; place++) visit((place % height) * width + Math.floor(place / height))
    }
    start = end
  }
}

/** What a class must give up stays unclaimed; what the unclaimed must give up belongs to none. */
function applyRules(
  owner: Int32Array,
  groups: Group[],
  size: Size,
  rulesOf: (classIndex: number | null) => CheckedRules,
): void {
  const classes = groups.map((_, i) => i + 1).filter((number) => number !== UNCLAIMED)
  measure(owner, groups, size)
  for (const number of classes) drop(owner, groups[number - 1]!, number, UNCLAIMED, size, rulesOf)
  // Where a hole lies within several classes, the smaller of them is the inner one.
  measure(owner, groups, size)
  for (const number of classes.toSorted((a, b) => groups[a - 1]!.area - groups[b - 1]!.area)) {
    fill(owner, groups[number - 1]!, number, size, rulesOf)
  }
  measure(owner, groups, size)
  drop(owner, groups[UNCLAIMED - 1]!, UNCLAIMED, 0, size, rulesOf)
  fill(owner, groups[UNCLAIMED - 1]!, UNCLAIMED, size, rulesOf)
  measure(owner, groups, size)
}

function measure(owner: Int32Array, groups: Group[], { width, height }: Size): void {
  const boxes = groups.map((): BoundingBox => [width, height, -1, -1])
  const areas = new Float64Array(groups.length)
  for (let y = 0, pixel = 0; y < height; y++) {
    for (let x = 0; x < width; x++, pixel++) {
      const number = owner[pixel]!
      if (number === 0) continue
      const box = boxes[number - 1]!
      areas[number - 1]!++
      if (x < box[0]) box[0] = x
      if (y < box[1]) box[1] = y
      if (x > box[2]) box[2] = x
      if (y > box[3]) box[3] = y
    }
  }
  for (const [i, group] of groups.entries()) {
    group.area = areas[i]!
    group.bbox = areas[i]! > 0 ? boxes[i]! : null
  }
}

function drop(
  owner: Int32Array,
  group: Group,
  number: number,
  to: number,
  size: Size,
  rulesOf: (classIndex: number | null) => CheckedRules,
): void {
  const { minArea, largestComponent } = rulesOf(group.classIndex)
  if (!group.bbox || (minArea === 1 && !largestComponent)) return
  const { labels, components } = cropped(owner, number, group.bbox, size).components()
  const largest = components.reduce((best, { area }, i) => (area > components[best]!.area ? i : best), 0)
  const stays = components.map(({ area }, i) => area >= minArea && (!largestComponent || i === largest))
  visitCrop(group.bbox, size, (pixel, place) => {
    if (labels[place]! > 0 && !stays[labels[place]! - 1]) owner[pixel] = to
  })
}

/** Holes, as scipy's `binary_fill_holes` has them: background that 4-connected steps do not lead out of. */
function fill(
  owner: Int32Array,
  group: Group,
  number: number,
  size: Size,
  rulesOf: (classIndex: number | null) => CheckedRules,
): void {
  if (!group.bbox || !rulesOf(group.classIndex).fillHoles) return
  const filled = cropped(owner, number, group.bbox, size).fillHoles()
  visitCrop(group.bbox, size, (pixel, place) => {
    if (filled.data[place] && (owner[pixel] === 0 || owner[pixel] === UNCLAIMED)) owner[pixel] = number
  })
}

function cropped(owner: Int32Array, number: number, bbox: BoundingBox, size: Size): Mask {
  const [x0, y0, x1, y1] = bbox
  const data = new Uint8Array((x1 - x0 + 1) * (y1 - y0 + 1))
  visitCrop(bbox, size, (pixel, place) => {
    data[place] = owner[pixel] === number ? 1 : 0
  })
  return new Mask(x1 - x0 + 1, y1 - y0 + 1, data)
}

/** Calls back with the places of each pixel of the box in the image and in the box. */
function visitCrop(
  [x0, y0, x1, y1]: BoundingBox,
  { width }: Size,
  visit: (pixel: number, place: number) => void,
): void {
  let place = 0
  for (let y = y0; y <= y1; y++) {
    for (let x = x0; x <= x1; x++) visit(y * width + x, place++)
  }
}

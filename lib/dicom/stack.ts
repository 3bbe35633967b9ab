import { type Affine, dot, norm, stepOf, subtract, transform } from '../volume/affine.js'
import type { VolumeWarning } from '../volume.js'
import type { DicomFrame } from './frame.js'
import { affineOfFrames, normalOfPlane } from './geometry.js'

/** Frames that make up a volume, in their order along the third axis. */
export interface Stack<F extends DicomFrame> {
  frames: F[]
  affine: Affine
  warnings: VolumeWarning[]
}

/** Positions closer than this, in mm, are one. */
const SAME_PLACE = 1e-3
/** How far a slice may lie from where the affine says, as share of the distance of slices, and in mm. */
const UNEVEN = { share: 0.02, millimetres: 0.01 }

/** Orders frames by their position along the normal of their planes, and tells what does not fit. */
export function stackOf<F extends DicomFrame>(all: readonly F[]): Stack<F> {
  const warnings: VolumeWarning[] = []
  const alike = largestGroup(all, warnings)
  const isPlaced = alike.every(({ geometry }) => geometry.plane !== null)
  const frames = isPlaced ? sortedByPlace(alike, warnings) : alike.toSorted((a, b) => a.instance - b.instance)
  const affine = affineOfFrames(frames.map(({ geometry }) => geometry))
  if (!isPlaced || alike.some(({ geometry }) => geometry.pixelSpacing === null)) {
    warnings.push({
      code: 'NO_GEOMETRY',
      message: isPlaced
        ? 'The file does not tell the size of its pixels: 1 mm is assumed.'
        : 'The file does not tell where its slices lie: they are stacked in their order, ' +
          `${norm(stepOf(affine, 2)).toFixed(2)} mm apart.`,
    })
  }
  if (isPlaced) warnOfGaps(frames, affine, warnings)
  return { frames, affine, warnings }
}

/** Frames of one size, kind and orientation: the most that are alike. */
function largestGroup<F extends DicomFrame>(all: readonly F[], warnings: VolumeWarning[]): F[] {
  const groups: F[][] = []
  for (const frame of all) {
    const group = groups.find(([first]) => isAlike(first!, frame))
    if (group) group.push(frame)
    else groups.push([frame])
  }
  const largest = groups.reduce((best, group) => (group.length > best.length ? group : best))
  if (groups.length > 1) {
    warnings.push({
      code: 'MIXED_SLICES',
      message:
        `${all.length - largest.length} of ${all.length} slices have another orientation, size or kind of pixel ` +
        `than the ${largest.length} that are kept.`,
    })
  }
  return largest
}

function isAlike(a: DicomFrame, b: DicomFrame): boolean {
  const isSameKind =
    a.columns === b.columns && a.rows === b.rows && a.channels === b.channels && a.inverted === b.inverted
  return isSameKind && isSameSpacing(a, b) && isSameOrientation(a, b)
}

function isSameSpacing({ geometry: a }: DicomFrame, { geometry: b }: DicomFrame): boolean {
  const [one, other] = [a.pixelSpacing, b.pixelSpacing]
  if (!one || !other) return one === other
  return one.every((distance, i) => Math.abs(distance - other[i]!) < 1e-4 * distance)
}

/** A frame without a place of its own goes with any: of old multi-frame files only the first has one. */
function isSameOrientation({ geometry: a }: DicomFrame, { geometry: b }: DicomFrame): boolean {
  if (!a.plane || !b.plane) return true
  return dot(a.plane.right, b.plane.right) > 0.9999 && dot(a.plane.down, b.plane.down) > 0.9999
}

function sortedByPlace<F extends DicomFrame>(frames: readonly F[], warnings: VolumeWarning[]): F[] {
  const normal = normalOfPlane(frames[0]!.geometry.plane!)
  const placed = frames
    .map((frame) => ({ frame, place: dot(frame.geometry.plane!.position, normal) }))
    .sort(
      (a, b) => a.place - b.place || a.frame.instance - b.frame.instance || a.frame.source.frame - b.frame.source.frame,
    )
  const kept = placed.filter(({ place }, i) => i === 0 || place - placed[i - 1]!.place > SAME_PLACE)
  if (kept.length < placed.length) {
    warnings.push({
      code: 'DUPLICATE_SLICES',
      message: `${placed.length - kept.length} of ${placed.length} slices lie where another does; the first of each place is kept.`,
    })
  }
  return kept.map(({ frame }) => frame)
}

function warnOfGaps(frames: readonly DicomFrame[], affine: Affine, warnings: VolumeWarning[]): void {
  const allowed = Math.max(UNEVEN.millimetres, UNEVEN.share * norm(stepOf(affine, 2)))
  const distances = frames.map(({ geometry }, k) =>
    norm(subtract(geometry.plane!.position, transform(affine, [0, 0, k]))),
  )
  const worst = distances.reduce((most, distance) => Math.max(most, distance), 0)
  if (worst <= allowed) return
  warnings.push({
    code: 'UNEVEN_SPACING',
    message:
      `The ${frames.length} slices are not evenly spaced (some are missing, or gaps differ): ` +
      `one lies ${worst.toFixed(2)} mm from where the affine has it. dicom.slices has the true positions.`,
  })
}

import { checkOptions } from '../options.js'
import { type Affine, cross, dot, norm, stepOf, type Vector } from '../volume/affine.js'
import { type Axis, checkAxis, normalOf } from '../volume/axes.js'
import { millilitresOf } from '../volume/millilitres.js'
import { checkSegmentation, type VolumeSegment, type VolumeSegmentation } from '../volume/segmentation.js'
import type { VoxelMask } from '../volume/voxel-mask.js'
import type { Volume, VolumeWarningCode } from '../volume.js'
import { axesOf, type PlanePoint, SAME } from './axes.js'
import { type Intensity, intensityOf } from './intensity.js'
import { edgeMiddles } from './outline.js'

export interface MeasureOptions {
  /**
   * What the slices are perpendicular to, in which areas and axes are measured. Default: `z`, the slices as they lie in the
   * file; of a segment that is one voxel thick along another voxel axis alone, that one.
   */
  axis?: Axis
}

/** One segment, measured. */
export interface SegmentMeasurement {
  name: string
  class: { id: string; name: string } | null
  probability: number | null
  predictedIou: number | null
  voxels: number
  /** In ml: voxels times the volume of one. */
  volume: number
  /** In mm²; `null` where it lies in several slices. */
  area: number | null
  axes: SegmentAxes
  /** `null` for volumes in colour, and where a value is not finite. */
  intensity: Intensity | null
  /** Mean of the voxels' places, as voxel index and in mm, LPS. */
  centroid: { voxel: Vector; patient: Vector }
  /**
   * Why lengths, areas and volumes may be wrong: `NO_GEOMETRY`, the file does not tell all of them and parts are assumed;
   * `UNEVEN_SPACING`, the slices are not equally far apart.
   */
  cautions: VolumeWarningCode[]
}

/** Diameters in one slice: that in which the long axis is longest, the first of them. */
export interface SegmentAxes {
  axis: Axis
  /** Number of the slice along `axis`. */
  slice: number
  /** In mm: the largest distance between two points of the outline, which need not lie in one piece. */
  long: number
  /** In mm: the longest chord of the convex hull at right angles to the long axis. */
  short: number
  /** The ends of the long axis, as voxel indices. */
  ends: readonly [Vector, Vector]
}

const CAUTIONS: readonly VolumeWarningCode[] = ['NO_GEOMETRY', 'UNEVEN_SPACING']

/**
 * Measures each segment: size, diameters, intensity, place.
 *
 * Diameters are those of RECIST 1.1 (Eisenhauer et al., 2009): the longest diameter in the slice that has the longest, and
 * the longest one at right angles to it. The outline is taken through the middles of the pixel edges, as a caliper would be
 * set: a row of ten pixels of 1 mm is 10 mm long. All in mm of the patient, whatever the shape of the voxels.
 *
 * @throws SegSamError `INVALID_ARGUMENT`
 */
export function measure(segmentation: VolumeSegmentation, options: MeasureOptions = {}): SegmentMeasurement[] {
  checkOptions(options, ['axis'])
  if (options.axis !== undefined) checkAxis(options.axis)
  checkSegmentation(segmentation)
  const { volume, segments } = segmentation
  const cautions = volume.warnings.map(({ code }) => code).filter((code) => CAUTIONS.includes(code))
  return segments.map((segment) => measured(volume, segment, options.axis ?? axisOf(segment.mask), cautions))
}

function measured(
  volume: Volume,
  { name, class: found, probability, predictedIou, mask }: VolumeSegment,
  axis: Axis,
  cautions: VolumeWarningCode[],
): SegmentMeasurement {
  const { affine } = volume
  const normal = normalOf(affine, axis)
  const [right, down] = [0, 1, 2].filter((each) => each !== normal).map((each) => stepOf(affine, each)) as [
    Vector,
    Vector,
  ]
  const voxel = centreOf(mask)
  return {
    name,
    class: found && { id: found.id, name: found.name },
    probability,
    predictedIou,
    voxels: mask.count,
    volume: millilitresOf(volume, mask.count),
    area: mask.size[normal] === 1 ? mask.count * norm(cross(right, down)) : null,
    axes: longestAxes(volume, mask, axis),
    intensity: volume.channels === 1 ? intensityOf(valuesUnder(volume, mask), volume.unit) : null,
    centroid: { voxel, patient: volume.positionOf(voxel) },
    cautions,
  }
}

/** The voxel axis along which alone it is one voxel thick; else the third. */
function axisOf({ size }: VoxelMask): Axis {
  const thin = [0, 1, 2].filter((axis) => size[axis] === 1)
  return thin.length === 1 ? (['x', 'y', 'z'] as const)[thin[0]!]! : 'z'
}

function centreOf(mask: VoxelMask): Vector {
  const sums: [number, number, number] = [0, 0, 0]
  mask.forEach((i, j, k) => {
    sums[0] += i
    sums[1] += j
    sums[2] += k
  })
  return [sums[0] / mask.count, sums[1] / mask.count, sums[2] / mask.count]
}

function valuesUnder({ data }: Volume, mask: VoxelMask): Float64Array {
  const values = new Float64Array(mask.count)
  let count = 0
  mask.forEach((_i, _j, _k, at) => {
    values[count++] = data[at]!
  })
  return values
}

function longestAxes({ affine }: Volume, mask: VoxelMask, axis: Axis): SegmentAxes {
  const normal = normalOf(affine, axis)
  const { origin, size } = mask
  let best: SegmentAxes | undefined
  for (let index = origin[normal]; index < origin[normal] + size[normal]; index++) {
    const axes = axesInSlice(affine, mask, normal, index)
    if (axes && (!best || axes.long > best.long * (1 + SAME))) best = { axis, slice: index, ...axes }
  }
  return best!
}

function axesInSlice(
  affine: Affine,
  { origin, size, data }: VoxelMask,
  normal: 0 | 1 | 2,
  index: number,
): Pick<SegmentAxes, 'long' | 'short' | 'ends'> | null {
  const [right, down] = [0, 1, 2].filter((axis) => axis !== normal) as [number, number]
  const strides = [1, size[0], size[0] * size[1]]
  const from = (index - origin[normal]) * strides[normal]!
  const points = edgeMiddles(size[right]!, size[down]!, (x, y) => {
    return data[from + x * strides[right]! + y * strides[down]!] !== 0
  })
  if (points.length === 0) return null
  const lengths = lengthsOf(stepOf(affine, right), stepOf(affine, down))
  const { long, short, ends } = axesOf(points.map(lengths.of))
  const voxelAt = (point: PlanePoint): Vector => {
    const voxel: [number, number, number] = [0, 0, 0]
    const [x, y] = lengths.pixel(point)
    voxel[normal] = index
    voxel[right] = origin[right]! + x
    voxel[down] = origin[down]! + y
    return voxel
  }
  return { long, short, ends: [voxelAt(ends[0]), voxelAt(ends[1])] }
}

/** Lengths in the plane of two steps, which need not be at right angles. */
function lengthsOf(right: Vector, down: Vector) {
  const width = norm(right)
  const lean = dot(right, down) / width
  const height = Math.sqrt(Math.max(dot(down, down) - lean * lean, 0))
  return {
    of: ([x, y]: PlanePoint): PlanePoint => [x * width + y * lean, y * height],
    pixel: ([u, v]: PlanePoint): PlanePoint => [(u - (v / height) * lean) / width, v / height],
  }
}

import { type Affine, affineOf, cross, norm, scale, subtract, type Vector } from '../volume/affine.js'
import type { DicomDataset } from './dataset.js'

/** Where the pixels of one frame lie in the patient (PS3.3 C.7.6.2), mm and LPS. */
export interface FramePlane {
  /** Centre of the first pixel. */
  position: Vector
  /** Unit vectors along a row and down a column. */
  right: Vector
  down: Vector
}

export interface FrameGeometry {
  /** `null` where the file does not tell. */
  plane: FramePlane | null
  /** Distance between columns and between rows; `null` where the file does not tell. */
  pixelSpacing: readonly [x: number, y: number] | null
  /** Thickness of a slice and distance of slices, used where their places do not tell; `null` where the file does not. */
  thickness: number | null
  betweenSlices: number | null
}

/** @param frame functional groups of a frame, the most particular first */
export function frameGeometry(dataset: DicomDataset, frame: readonly DicomDataset[]): FrameGeometry {
  const groupOr = (tag: string) => frame.find((group) => group.item(tag))?.item(tag) ?? dataset
  const measures = groupOr('x00289110')
  const spacing = vectorOf(measures, 'x00280030', 2) ?? vectorOf(dataset, 'x00181164', 2)
  const isSpacing = spacing?.every((distance) => distance > 0)
  return {
    plane: planeOf(groupOr('x00209113'), groupOr('x00209116')),
    pixelSpacing: isSpacing ? [spacing![1]!, spacing![0]!] : null,
    thickness: positive(measures.decimal('x00180050')),
    betweenSlices: positive(measures.decimal('x00180088')),
  }
}

function positive(value: number | undefined): number | null {
  return value !== undefined && value > 0 ? value : null
}

function planeOf(positioned: DicomDataset, oriented: DicomDataset): FramePlane | null {
  const position = vectorOf(positioned, 'x00200032', 3)
  const directions = vectorOf(oriented, 'x00200037', 6)
  if (!position || !directions) return null
  const [right, down] = [directions.slice(0, 3), directions.slice(3)] as unknown as [Vector, Vector]
  const isBasis = norm(right) > 0 && norm(down) > 0 && norm(cross(right, down)) > 1e-3 * norm(right) * norm(down)
  if (!isBasis) return null
  const unit = (vector: Vector) => scale(vector, 1 / norm(vector))
  return { position: position as unknown as Vector, right: unit(right), down: unit(down) }
}

function vectorOf(dataset: DicomDataset, tag: string, length: number): number[] | undefined {
  const values = dataset.decimals(tag)
  return values?.length === length ? values : undefined
}

export function normalOfPlane({ right, down }: FramePlane): Vector {
  return cross(right, down)
}

/** @param frames in their order along the normal */
export function affineOfFrames(frames: readonly FrameGeometry[]): Affine {
  const [first, last] = [frames[0]!, frames.at(-1)!]
  const [x, y] = first.pixelSpacing ?? [1, 1]
  const plane = first.plane ?? { position: [0, 0, 0], right: [1, 0, 0], down: [0, 1, 0] }
  const { thickness, betweenSlices } = first
  const distance = (frames.length > 1 ? (betweenSlices ?? thickness) : (thickness ?? betweenSlices)) ?? 1
  const step =
    frames.length > 1 && last.plane
      ? scale(subtract(last.plane.position, plane.position), 1 / (frames.length - 1))
      : scale(normalOfPlane(plane), distance)
  return affineOf([scale(plane.right, x), scale(plane.down, y), step], plane.position)
}

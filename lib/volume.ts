import type { StudyHeader } from './dicom/study-header.js'
import { SegSamError, unexpected } from './errors.js'
import type { MedicalImage } from './image.js'
import { checkOptions } from './options.js'
import { type Affine, stepOf, transform, type Vector } from './volume/affine.js'
import { type Axis, checkAxis, normalOf, planeOf, type SlicePlane } from './volume/axes.js'
import { type AppliedWindow, applyWindow, chosenWindow, type IntensityWindow, type WindowChoice } from './window.js'

/** The smallest type that holds the values exactly, else `Float32Array`. */
export type VoxelData = Uint8Array | Uint16Array | Int16Array | Float32Array

/** Something about a file that the caller should know, but that did not keep it from being read. */
export interface VolumeWarning {
  code: VolumeWarningCode
  message: string
}

export type VolumeWarningCode =
  /** Slices are missing, or their distances differ: the affine holds at the first and last slice only. */
  | 'UNEVEN_SPACING'
  /** Several slices at one position, of which the first was kept. */
  | 'DUPLICATE_SLICES'
  /** Slices of another orientation, size or kind of pixel, which were left out. */
  | 'MIXED_SLICES'
  /** The file does not say where the voxels are, or how large: parts of the affine are assumed. */
  | 'NO_GEOMETRY'
  /** Values were rounded to 32-bit floats. */
  | 'ROUNDED'
  /** Some values are NaN or infinite. */
  | 'NOT_FINITE'
  /** Files of the folder that cannot be read, or are no images. */
  | 'SKIPPED_FILES'

/** What a series of DICOM files says of itself; nothing of the patient that a program or a log can see. */
export interface DicomSource {
  studyInstanceUid: string | null
  seriesInstanceUid: string | null
  frameOfReferenceUid: string | null
  /** One for each slice, in their order along the third axis. */
  slices: readonly DicomSlice[]
  /** What the files say of the patient and study, for the writers of DICOM files; shows nothing of it. */
  header?: StudyHeader
}

export interface DicomSlice {
  sopClassUid: string | null
  sopInstanceUid: string | null
  /** Number of the frame in its file, from 1, as DICOM counts. */
  frame: number
  /** Centre of its first pixel in mm, LPS; `null` where the file has none. */
  position: Vector | null
}

/** All that {@link Volume} has but its methods. */
export interface VolumeContent {
  /** Values in physical units, i fastest, then j, then k; channels interleaved: i + shape[0] * (j + shape[1] * k). */
  data: VoxelData
  /** Voxels along i, j and k. For DICOM columns, rows and slices. */
  shape: Vector
  /** 1 gray, 3 RGB. */
  channels: 1 | 3
  affine: Affine
  /** `HU` for CT; else what the file names (`rescale type`), or `null`. */
  unit: string | null
  /** For example `CT`; `null` where the file does not tell. */
  modality: string | null
  /** Window of the file; of a series, that of its middle slice. */
  window: IntensityWindow | null
  /** Low values are to be shown white (`MONOCHROME1`). `data` is not inverted. */
  inverted: boolean
  warnings: readonly VolumeWarning[]
  dicom: DicomSource | null
}

export interface SliceOptions {
  /**
   * Make an 8-bit image by this window, recorded in the result. Default: none, the slice has the values of the volume, and
   * `model.encode` applies its own window.
   */
  window?: WindowChoice
}

/** An image that `model.encode` takes, and where it comes from. */
export interface VolumeSlice extends MedicalImage {
  axis: Axis
  index: number
  plane: SlicePlane
  /** Size of a pixel in mm, [x, y]. */
  spacing: readonly [number, number]
  /** How `data` was made from the values of the volume; `null`: it has these values. */
  window: AppliedWindow | null
}

/**
 * A grid of voxels in the patient, as `readVolume` gives it.
 *
 * ```ts
 * const volume = await readVolume('ct/')
 * const scene = await model.encode(volume.slice('axial', 40, { window: 'soft-tissue' }))
 * ```
 */
export class Volume {
  readonly data: VoxelData
  readonly shape: Vector
  readonly channels: 1 | 3
  /** From voxel index to patient coordinates in mm, LPS. */
  readonly affine: Affine
  readonly unit: string | null
  readonly modality: string | null
  readonly window: IntensityWindow | null
  readonly inverted: boolean
  readonly warnings: readonly VolumeWarning[]
  readonly dicom: DicomSource | null

  /** @throws SegSamError `INVALID_IMAGE` */
  constructor(content: VolumeContent) {
    const { data, shape, channels, affine } = content
    const values = shape[0] * shape[1] * shape[2] * channels
    if (!shape.every((size) => Number.isSafeInteger(size) && size > 0)) {
      throw unexpected('INVALID_IMAGE', 'shape', shape, 'three whole numbers of voxels, at least 1')
    }
    if (data.length !== values) throw unexpected('INVALID_IMAGE', 'data', data, `${values} values`)
    if (affine.length !== 16 || !affine.every(Number.isFinite)) {
      throw unexpected('INVALID_IMAGE', 'affine', affine, '16 finite numbers')
    }
    this.data = data
    this.shape = shape
    this.channels = channels
    this.affine = affine
    this.unit = content.unit
    this.modality = content.modality
    this.window = content.window
    this.inverted = content.inverted
    this.warnings = content.warnings
    this.dicom = content.dicom
  }

  /** Distance in mm between neighbours along i, j and k. */
  get spacing(): Vector {
    const length = (axis: number) => Math.hypot(...stepOf(this.affine, axis))
    return [length(0), length(1), length(2)]
  }

  /** Patient coordinates in mm, LPS, of a voxel index. */
  positionOf(voxel: Vector): Vector {
    return transform(this.affine, voxel)
  }

  /** Number of slices along an axis. */
  sliceCount(axis: Axis): number {
    checkAxis(axis)
    return this.shape[normalOf(this.affine, axis)]!
  }

  /**
   * One slice, as an image of its own.
   *
   * @param index from 0, along the voxel axis
   * @throws SegSamError `INVALID_ARGUMENT`
   */
  slice(axis: Axis, index: number, options: SliceOptions = {}): VolumeSlice {
    checkOptions(options, ['window'])
    const count = this.sliceCount(axis)
    if (!Number.isSafeInteger(index) || index < 0 || index >= count) {
      throw unexpected('INVALID_ARGUMENT', `the index of the ${axis} slice`, index, `0 to ${count - 1}`)
    }
    const plane = planeOf(this.affine, this.shape, axis, index)
    const along = (step: Vector) => step.findIndex((part) => part !== 0)
    const [rightAxis, downAxis] = [along(plane.right), along(plane.down)]
    const values = this.#valuesOf(plane, this.shape[rightAxis]!, this.shape[downAxis]!)
    const window = this.#windowFor(options.window)
    return {
      data: window ? applyWindow(values, window) : values,
      width: this.shape[rightAxis]!,
      height: this.shape[downAxis]!,
      channels: this.channels,
      axis,
      index,
      plane,
      spacing: [this.spacing[rightAxis]!, this.spacing[downAxis]!],
      window,
    }
  }

  #windowFor(choice: WindowChoice | undefined): AppliedWindow | null {
    if (choice === undefined) return null
    const window = chosenWindow(choice, this.window)
    if (this.channels === 1) return { ...window, inverted: this.inverted }
    throw new SegSamError('INVALID_ARGUMENT', 'A window is given for an image in colour; allowed: gray. Leave it out.')
  }

  #valuesOf(plane: SlicePlane, width: number, height: number): VoxelData {
    const { data, channels } = this
    const offsetOf = ([i, j, k]: Vector) => (i + this.shape[0] * (j + this.shape[1] * k)) * channels
    const [origin, right, down] = [offsetOf(plane.origin), offsetOf(plane.right), offsetOf(plane.down)]
    const values = new (data.constructor as new (length: number) => VoxelData)(width * height * channels)
    let at = 0
    for (let y = 0; y < height; y++) {
      let from = origin + y * down
      for (let x = 0; x < width; x++, from += right) {
        for (let c = 0; c < channels; c++) values[at++] = data[from + c]!
      }
    }
    return values
  }
}

/** @throws SegSamError `INVALID_ARGUMENT` */
export function checkVolume(volume: unknown): asserts volume is Volume {
  if (!(volume instanceof Volume))
    throw unexpected('INVALID_ARGUMENT', 'volume', volume, 'a Volume, as readVolume gives it')
}

import { SegSamError } from '../../errors.js'
import type { Vector } from '../../volume/affine.js'
import type { Volume } from '../../volume.js'
import { StudyHeader } from '../study-header.js'
import type { Dataset } from './encode.js'

/** The images that a volume was read from, checked to be such that a file can refer to them. */
export interface SourceImages {
  studyInstanceUid: string
  seriesInstanceUid: string
  frameOfReferenceUid: string | null
  /** One for each slice. */
  frames: readonly SourceFrame[]
  /**
   * They tell where they lie in the patient: a place in a frame of reference, and the size of the pixels. Of others, such as
   * radiographs, a segmentation can tell only which images it was drawn on (PS3.3 A.51.5.1).
   */
  isPlaced: boolean
  header: StudyHeader | null
}

export interface SourceFrame {
  sopClassUid: string
  sopInstanceUid: string
  /** From 1; `null` where the file has one frame. */
  frame: number | null
  /** Centre of its first pixel in mm, LPS; `null` where the file has none. */
  position: Vector | null
}

const UID = /^(?=.{1,64}$)\d+(\.\d+)*$/

/** @throws SegSamError `INVALID_ARGUMENT` where the volume is of no DICOM files, or they lack a UID */
export function sourceImages(volume: Volume): SourceImages {
  const { dicom } = volume
  if (!dicom) {
    throw new SegSamError(
      'INVALID_ARGUMENT',
      'The volume comes from no DICOM file, so that there is no study to belong to and no image to refer to. ' +
        'Read the DICOM series with readVolume and lay the masks into that volume.',
    )
  }
  if (dicom.slices.length !== volume.shape[2]) {
    throw new SegSamError(
      'INVALID_ARGUMENT',
      `volume.dicom.slices has ${dicom.slices.length} entries; allowed: one for each of the ${volume.shape[2]} slices.`,
    )
  }
  const uses = new Map<string, number>()
  for (const { sopInstanceUid } of dicom.slices) {
    if (sopInstanceUid !== null) uses.set(sopInstanceUid, (uses.get(sopInstanceUid) ?? 0) + 1)
  }
  return {
    studyInstanceUid: checkedUid(dicom.studyInstanceUid, 'Study Instance UID'),
    seriesInstanceUid: checkedUid(dicom.seriesInstanceUid, 'Series Instance UID'),
    frameOfReferenceUid:
      dicom.frameOfReferenceUid === null ? null : checkedUid(dicom.frameOfReferenceUid, 'Frame of Reference UID'),
    frames: dicom.slices.map(({ sopClassUid, sopInstanceUid, frame, position }) => {
      const instance = checkedUid(sopInstanceUid, 'SOP Instance UID')
      return {
        sopClassUid: checkedUid(sopClassUid, 'SOP Class UID'),
        sopInstanceUid: instance,
        frame: frame > 1 || uses.get(instance)! > 1 ? frame : null,
        position,
      }
    }),
    isPlaced:
      dicom.frameOfReferenceUid !== null &&
      dicom.slices.every(({ position }) => position !== null) &&
      !volume.warnings.some(({ code }) => code === 'NO_GEOMETRY'),
    header: dicom.header instanceof StudyHeader ? dicom.header : null,
  }
}

/** The references that contours and frames have: SOP Instance Reference, with the frame where the file has several. */
export function imageReference({ sopClassUid, sopInstanceUid, frame }: SourceFrame): Dataset {
  return {
    ReferencedSOPClassUID: sopClassUid,
    ReferencedSOPInstanceUID: sopInstanceUid,
    ReferencedFrameNumber: frame === null ? undefined : String(frame),
  }
}

/** Each file of some frames once. */
export function instanceReferences(frames: readonly SourceFrame[]): Dataset[] {
  const byInstance = new Map(frames.map((frame) => [frame.sopInstanceUid, frame]))
  return [...byInstance.values()].map((frame) => imageReference({ ...frame, frame: null }))
}

function checkedUid(uid: string | null, name: string): string {
  if (uid !== null && UID.test(uid)) return uid
  throw new SegSamError(
    'INVALID_ARGUMENT',
    `The source images have ${uid === null ? 'no' : 'an invalid'} ${name}, which the file has to refer to. ` +
      'Repair their headers, or write another format.',
  )
}

import { rgbOf } from '../../colour.js'
import { SegSamError } from '../../errors.js'
import { Mask, type Ring } from '../../mask.js'
import { checkOptions, parsedOptions } from '../../options.js'
import { stepOf, type Vector } from '../../volume/affine.js'
import { normalOf } from '../../volume/axes.js'
import { checkSegmentation, type VolumeSegment, type VolumeSegmentation } from '../../volume/segmentation.js'
import type { Volume } from '../../volume.js'
import { codeItem, propertyOf } from './codes.js'
import { type Dataset, dicomFile, IMPLICIT_LITTLE_ENDIAN } from './encode.js'
import { keyholed } from './keyhole.js'
import { commonModules, patientAndStudy } from './modules.js'
import { COMMON_OPTIONS, type DicomSegOptions } from './seg-options.js'
import { imageReference, type SourceFrame, type SourceImages, sourceImages } from './source.js'
import { dateAndTime, decimal, isCut, text } from './values.js'

export type RTStructOptions = Omit<DicomSegOptions, 'type'>

const RT_STRUCTURE_SET_STORAGE = '1.2.840.10008.5.1.4.1.1.481.3'
/** What a study is referred to by, though retired: the attribute is of type 1. */
const DETACHED_STUDY_MANAGEMENT = '1.2.840.10008.3.1.2.3.1'

/** A frame of the source, with the contours that a segment has there. */
interface Outline {
  image: PlacedFrame
  rings: Ring[]
}

type PlacedFrame = SourceFrame & { position: Vector }
type PlacedSource = SourceImages & { frameOfReferenceUid: string; frames: readonly PlacedFrame[] }

/**
 * A DICOM RT Structure Set (PS3.3 A.19) with an ROI for each segment, as a Part 10 file. Contours run along the edges of
 * voxels, in mm, on the axial frames that the volume was read from; a hole hangs on its contour by a channel without width.
 *
 * @throws SegSamError `INVALID_ARGUMENT` where the volume is of no DICOM files, its frames are not axial or have no place in
 *   the patient, or a mask is empty; `UNSUPPORTED_FORMAT` where `keepPatient` meets a character set that is not read
 */
export async function toRTStruct(segmentation: VolumeSegmentation, options: RTStructOptions = {}): Promise<Buffer> {
  checkOptions(options, Object.keys(COMMON_OPTIONS) as (keyof RTStructOptions)[])
  const checked = parsedOptions(options, COMMON_OPTIONS)
  checkSegmentation(segmentation)
  const { volume, segments } = segmentation
  const source = placedSource(volume)
  const outlines = segments.map((segment) => outlinesOf(segment, source))
  const now = new Date()
  const { date, time } = dateAndTime(now)
  return dicomFile({
    dataset: {
      ...commonModules(segmentation, source, {
        sopClass: RT_STRUCTURE_SET_STORAGE,
        modality: 'RTSTRUCT',
        seriesNumber: checked.seriesNumber,
        now,
      }),
      OperatorsName: checked.creator,
      FrameOfReferenceUID: source.frameOfReferenceUid,
      PositionReferenceIndicator: '',
      StructureSetLabel: 'SEGMENTATION',
      ...(checked.description !== '' && { StructureSetDescription: checked.description }),
      StructureSetDate: date,
      StructureSetTime: time,
      ReferencedFrameOfReferenceSequence: [frameOfReference(source)],
      StructureSetROISequence: segments.map((segment, i) => roi(segment, i + 1, segmentation, source, checked)),
      ROIContourSequence: segments.map(({ colour }, i) => ({
        ROIDisplayColor: rgbOf(colour).map(String),
        ContourSequence: contours(outlines[i]!, volume),
        ReferencedROINumber: String(i + 1),
      })),
      RTROIObservationsSequence: segments.map((segment, i) => observation(segment, i + 1)),
      ApprovalStatus: 'UNAPPROVED',
    },
    copied: patientAndStudy(source, checked.keepPatient),
    // Explicit VR has no room for the length of a long contour.
    transferSyntax: IMPLICIT_LITTLE_ENDIAN,
  })
}

function frameOfReference({ frameOfReferenceUid, studyInstanceUid, seriesInstanceUid, frames }: PlacedSource): Dataset {
  return {
    FrameOfReferenceUID: frameOfReferenceUid,
    RTReferencedStudySequence: [
      {
        ReferencedSOPClassUID: DETACHED_STUDY_MANAGEMENT,
        ReferencedSOPInstanceUID: studyInstanceUid,
        RTReferencedSeriesSequence: [
          { SeriesInstanceUID: seriesInstanceUid, ContourImageSequence: frames.map(imageReference) },
        ],
      },
    ],
  }
}

function roi(
  { name }: VolumeSegment,
  number: number,
  { model }: VolumeSegmentation,
  { frameOfReferenceUid }: PlacedSource,
  { algorithmType }: { algorithmType: string },
): Dataset {
  return {
    ROINumber: String(number),
    ReferencedFrameOfReferenceUID: frameOfReferenceUid,
    ROIName: text(name, 64),
    ...(isCut(name, 64) && { ROIDescription: text(name, 1024) }),
    ROIGenerationAlgorithm: algorithmType,
    ROIGenerationDescription: text(`${model.name} ${model.version}`, 64),
  }
}

/** What kind of volume an ROI is to a treatment is for people to say: its type stays empty. */
function observation(segment: VolumeSegment, number: number): Dataset {
  const { type, modifier } = propertyOf(segment)
  const sides = modifier ? { SegmentedPropertyTypeModifierCodeSequence: [codeItem(modifier)] } : {}
  return {
    ObservationNumber: String(number),
    ReferencedROINumber: String(number),
    ROIObservationLabel: text(segment.name, 16),
    RTROIIdentificationCodeSequence: [{ ...codeItem(type), ...sides }],
    RTROIInterpretedType: '',
    ROIInterpreter: '',
  }
}

function outlinesOf({ mask }: VolumeSegment, { frames }: PlacedSource): Outline[] {
  const { origin, size, data } = mask
  const area = size[0] * size[1]
  return Array.from({ length: size[2] }, (_, k) => {
    const slice = new Mask(size[0], size[1], data.subarray(k * area, (k + 1) * area))
    const rings = slice.toPolygons().map(keyholed)
    return {
      image: frames[origin[2] + k]!,
      rings: rings.map((ring) => ring.map(([x, y]): [number, number] => [origin[0] + x, origin[1] + y])),
    }
  })
}

function contours(outlines: readonly Outline[], { affine }: Volume): Dataset[] {
  const [right, down] = [stepOf(affine, 0), stepOf(affine, 1)]
  const drawn = outlines.flatMap(({ image, rings }) => rings.map((ring) => ({ image, ring })))
  return drawn.map(({ image, ring }, i) => ({
    ContourNumber: String(i + 1),
    ContourImageSequence: [imageReference(image)],
    ContourGeometricType: 'CLOSED_PLANAR',
    NumberOfContourPoints: String(ring.length),
    ContourData: ring.flatMap(([x, y]) =>
      image.position.map((start, axis) => decimal(start + x * right[axis]! + y * down[axis]!)),
    ),
  }))
}

/** @throws SegSamError `INVALID_ARGUMENT` where contours cannot be drawn on the images that the volume was read from */
export function placedSource(volume: Volume): PlacedSource {
  const source = sourceImages(volume)
  if (!source.isPlaced) {
    throw new SegSamError(
      'INVALID_ARGUMENT',
      'The source images do not tell where they lie in the patient (Frame of Reference UID, Image Position, Pixel Spacing), which the ' +
        'contours of an RT Structure Set need. Write a DICOM segmentation with toDicomSeg.',
    )
  }
  if (normalOf(volume.affine, 'axial') !== 2) {
    throw new SegSamError(
      'INVALID_ARGUMENT',
      'The source images are not axial; allowed for an RT Structure Set: axial images, also oblique ones. ' +
        'Write a DICOM segmentation with toDicomSeg.',
    )
  }
  return source as PlacedSource
}

import { unexpected } from '../../errors.js'
import { checkSegmentation, type VolumeSegmentation } from '../../volume/segmentation.js'
import { StudyHeader } from '../study-header.js'
import { type Dataset, dicomFile, EXPLICIT_LITTLE_ENDIAN } from './encode.js'
import { commonModules, patientAndStudy } from './modules.js'
import { isOverlapping, MAX_FRACTION, type SegPixels, segPixels } from './seg-frames.js'
import { dimensions, frameGroups, sharedGroups } from './seg-groups.js'
import { type CheckedSegOptions, checkedSegOptions, type DicomSegOptions } from './seg-options.js'
import { segmentItems } from './seg-segments.js'
import { instanceReferences, type SourceImages, sourceImages } from './source.js'
import { newUid } from './uid.js'
import { dateAndTime } from './values.js'

const SEGMENTATION_STORAGE = '1.2.840.10008.5.1.4.1.1.66.4'
const LABEL_MAP_SEGMENTATION_STORAGE = '1.2.840.10008.5.1.4.1.1.66.7'

/** Segment Number has 16 bits. */
const MAX_SEGMENTS = 65535

/**
 * A DICOM Segmentation (PS3.3 A.51) of the images that the volume was read from, as a Part 10 file. It has a frame for each
 * slice where a segment has voxels, at the place of its source and with a reference to it.
 *
 * @throws SegSamError `INVALID_ARGUMENT` where the volume is of no DICOM files, a mask is empty, the options do not fit or a
 *   LABELMAP would have overlaps; `UNSUPPORTED_FORMAT` where `keepPatient` meets a character set that is not read
 */
export async function toDicomSeg(segmentation: VolumeSegmentation, options: DicomSegOptions = {}): Promise<Buffer> {
  const checked = checkedSegOptions(options)
  checkSegmentation(segmentation)
  checkCount(segmentation.segments.length)
  const source = sourceImages(segmentation.volume)
  const pixels = segPixels(segmentation, checked)
  const isLabelMap = checked.type === 'LABELMAP'
  const now = new Date()
  return dicomFile({
    dataset: {
      ...commonModules(segmentation, source, {
        sopClass: isLabelMap ? LABEL_MAP_SEGMENTATION_STORAGE : SEGMENTATION_STORAGE,
        modality: 'SEG',
        seriesNumber: checked.seriesNumber,
        now,
      }),
      ...content(checked, now),
      ...references(source, pixels),
      ...image(segmentation, source, pixels, checked),
      ...dimensions(source.isPlaced, isLabelMap, newUid()),
      SegmentSequence: segmentItems(segmentation, checked),
      SharedFunctionalGroupsSequence: [sharedGroups(segmentation.volume, source.isPlaced)],
      PerFrameFunctionalGroupsSequence: frameGroups(source, pixels.frames),
    },
    copied: patientAndStudy(source, checked.keepPatient),
    pixels: { vr: pixels.bits === 16 ? 'OW' : 'OB', bytes: pixels.bytes },
    transferSyntax: EXPLICIT_LITTLE_ENDIAN,
  })
}

function content({ description, creator }: CheckedSegOptions, now: Date): Dataset {
  const { date, time } = dateAndTime(now)
  return {
    ContentDate: date,
    ContentTime: time,
    ContentLabel: 'SEGMENTATION',
    ContentDescription: description,
    ContentCreatorName: creator,
  }
}

/** Common Instance Reference, and the frame of reference where frames are placed. */
function references(source: SourceImages, { frames }: SegPixels): Dataset {
  const used = [...new Set(frames.map(({ slice }) => slice))].map((slice) => source.frames[slice]!)
  return {
    ...(source.isPlaced
      ? { FrameOfReferenceUID: source.frameOfReferenceUid!, PositionReferenceIndicator: '' }
      : { PatientOrientation: '' }),
    ReferencedSeriesSequence: [
      { SeriesInstanceUID: source.seriesInstanceUid, ReferencedInstanceSequence: instanceReferences(used) },
    ],
  }
}

function image(
  segmentation: VolumeSegmentation,
  { header }: SourceImages,
  { frames, bits }: SegPixels,
  { type }: CheckedSegOptions,
): Dataset {
  const [columns, rows] = segmentation.volume.shape
  const lossy = header && StudyHeader.read(header).lossy
  return {
    ImageType: ['DERIVED', 'PRIMARY'],
    SamplesPerPixel: 1,
    PhotometricInterpretation: 'MONOCHROME2',
    NumberOfFrames: String(frames.length),
    Rows: rows,
    Columns: columns,
    BitsAllocated: bits,
    BitsStored: bits,
    HighBit: bits - 1,
    PixelRepresentation: 0,
    LossyImageCompression: lossy ? '01' : '00',
    ...(lossy && { LossyImageCompressionRatio: lossy.ratios, LossyImageCompressionMethod: lossy.methods }),
    SegmentationType: type,
    ...(type === 'FRACTIONAL' && {
      SegmentationFractionalType: 'PROBABILITY',
      MaximumFractionalValue: MAX_FRACTION,
      SegmentsOverlap: 'UNDEFINED',
    }),
    ...(type === 'BINARY' && { SegmentsOverlap: isOverlapping(segmentation) ? 'YES' : 'NO' }),
    ...(type === 'LABELMAP' && { SegmentsOverlap: 'NO', PixelPaddingValue: 0 }),
  }
}

function checkCount(segments: number): void {
  if (segments <= MAX_SEGMENTS) return
  throw unexpected(
    'INVALID_ARGUMENT',
    'the number of segments',
    segments,
    `at most ${MAX_SEGMENTS}`,
    'Write several files.',
  )
}

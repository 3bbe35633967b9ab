import { cross, dot, norm, scale, stepOf, type Vector } from '../../volume/affine.js'
import type { Volume } from '../../volume.js'
import { codeItem } from './codes.js'
import type { Dataset } from './encode.js'
import type { SegFrame } from './seg-frames.js'
import { imageReference, type SourceImages } from './source.js'
import { decimal } from './values.js'

const TAG = {
  segmentNumber: 0x0062000b,
  segmentIdentification: 0x0062000a,
  imagePosition: 0x00200032,
  planePosition: 0x00209113,
  inStackPosition: 0x00209057,
  frameContent: 0x00209111,
}

/** What the dimensions are: the segment, and the place of the slice. */
export function dimensions(isPlaced: boolean, isLabelMap: boolean, organisation: string): Dataset {
  const segment = {
    DimensionOrganizationUID: organisation,
    DimensionIndexPointer: TAG.segmentNumber,
    FunctionalGroupPointer: TAG.segmentIdentification,
    DimensionDescriptionLabel: 'Segment Number',
  }
  const slice = isPlaced
    ? {
        DimensionIndexPointer: TAG.imagePosition,
        FunctionalGroupPointer: TAG.planePosition,
        DimensionDescriptionLabel: 'Image Position Patient',
      }
    : {
        DimensionIndexPointer: TAG.inStackPosition,
        FunctionalGroupPointer: TAG.frameContent,
        DimensionDescriptionLabel: 'In-Stack Position Number',
      }
  return {
    DimensionOrganizationSequence: [{ DimensionOrganizationUID: organisation }],
    DimensionIndexSequence: [...(isLabelMap ? [] : [segment]), { DimensionOrganizationUID: organisation, ...slice }],
  }
}

/** Of all frames: orientation and size of the pixels, where frames are placed. */
export function sharedGroups(volume: Volume, isPlaced: boolean): Dataset {
  if (!isPlaced) return {}
  const [i, j, k] = [0, 1, 2].map((axis) => stepOf(volume.affine, axis)) as [Vector, Vector, Vector]
  const [right, down] = [scale(i, 1 / norm(i)), scale(j, 1 / norm(j))]
  const normal = cross(right, down)
  const isEven = !volume.warnings.some(({ code }) => code === 'UNEVEN_SPACING')
  const distance = decimal(Math.abs(dot(k, normal)) / norm(normal))
  return {
    PlaneOrientationSequence: [{ ImageOrientationPatient: [...right, ...down].map(decimal) }],
    PixelMeasuresSequence: [
      {
        SliceThickness: distance,
        SpacingBetweenSlices: isEven ? distance : undefined,
        PixelSpacing: [norm(j), norm(i)].map(decimal),
      },
    ],
  }
}

/** Of each frame: its segment, its place and the frame it was drawn on. */
export function frameGroups(source: SourceImages, frames: readonly SegFrame[]): Dataset[] {
  const { isPlaced } = source
  const slices = [...new Set(frames.map(({ slice }) => slice))].sort((a, b) => a - b)
  const placeOf = new Map(slices.map((slice, at) => [slice, at + 1]))
  return frames.map(({ slice, segment }) => {
    const image = source.frames[slice]!
    const place = placeOf.get(slice)!
    const stack = isPlaced ? {} : { StackID: '1', InStackPositionNumber: place }
    return {
      FrameContentSequence: [{ DimensionIndexValues: segment === null ? [place] : [segment, place], ...stack }],
      ...(isPlaced && { PlanePositionSequence: [{ ImagePositionPatient: image.position!.map(decimal) }] }),
      ...(segment !== null && { SegmentIdentificationSequence: [{ ReferencedSegmentNumber: segment }] }),
      DerivationImageSequence: [
        {
          DerivationCodeSequence: [codeItem(['DCM', '113076', 'Segmentation'])],
          SourceImageSequence: [
            {
              ...imageReference(image),
              SpatialLocationsPreserved: 'YES',
              PurposeOfReferenceCodeSequence: [
                codeItem(['DCM', '121322', 'Source image for image processing operation']),
              ],
            },
          ],
        },
      ],
    }
  })
}

import { type Physical, physical } from '../files/numbers.js'
import type { DicomSlice } from '../volume.js'
import type { IntensityWindow } from '../window.js'
import type { DicomDataset, DicomFile } from './dataset.js'
import { checkFrames, frameDecoder } from './decode.js'
import { type FrameGeometry, frameGeometry } from './geometry.js'
import { type ImageAttributes, imageAttributes } from './image-attributes.js'
import { StudyHeader } from './study-header.js'
import { applyModality, mayBeNegative, modalityTransform } from './values.js'
import { voiOf } from './voi.js'

/** One frame of a DICOM file, its pixels not yet decoded. */
export interface DicomFrame {
  geometry: FrameGeometry
  columns: number
  rows: number
  channels: 1 | 3
  inverted: boolean
  modality: string | null
  unit: string | null
  /** Instance Number, else 0. */
  instance: number
  window: IntensityWindow | null
  source: DicomSlice
}

export interface DicomImage {
  frames: DicomFrame[]
  studyInstanceUid: string | null
  seriesInstanceUid: string | null
  frameOfReferenceUid: string | null
  header: StudyHeader
  /** Values of a frame, numbered from 0, in physical units. */
  decode(frame: number): Promise<Physical>
}

/** @throws SegSamError `INVALID_IMAGE`, `UNSUPPORTED_FORMAT` */
export function dicomImage(file: DicomFile, name: string, maxVoxels: number): DicomImage {
  const { dataset } = file
  const attributes = imageAttributes(dataset, name, maxVoxels)
  checkFrames(file, attributes, name)
  const groups = Array.from({ length: attributes.frames }, functionalGroups(dataset))
  let decoder: ReturnType<typeof frameDecoder> | undefined
  return {
    frames: groups.map((group, frame) => frameOf(dataset, attributes, group, frame, name)),
    studyInstanceUid: dataset.text('x0020000d') ?? null,
    seriesInstanceUid: dataset.text('x0020000e') ?? null,
    frameOfReferenceUid: dataset.text('x00200052') ?? null,
    header: new StudyHeader(dataset),
    async decode(frame) {
      decoder ??= frameDecoder(file, attributes, name)
      const raw = await decoder(frame)
      if (channelsOf(attributes) === 3) return physical(raw, 1, 0)
      return applyModality(raw, modalityTransform(dataset, groups[frame]!, attributes.isSigned, name))
    },
  }
}

/** The groups of a frame (PS3.3 C.7.6.16), its own before the shared ones; none in files that are not enhanced. */
function functionalGroups(dataset: DicomDataset): (_: unknown, frame: number) => DicomDataset[] {
  const shared = dataset.item('x52009229')
  const own = dataset.items('x52009230')
  return (_, frame) => [own[frame], shared].filter((group) => group !== undefined)
}

function channelsOf({ samples, photometric }: ImageAttributes): 1 | 3 {
  return samples === 3 || photometric === 'PALETTE COLOR' ? 3 : 1
}

function frameOf(
  dataset: DicomDataset,
  attributes: ImageAttributes,
  groups: readonly DicomDataset[],
  frame: number,
  name: string,
): DicomFrame {
  const channels = channelsOf(attributes)
  const geometry = frameGeometry(dataset, groups)
  const modality = dataset.text('x00080060')?.match(/^[A-Z0-9_]{1,16}$/)?.[0] ?? null
  const transform = modalityTransform(dataset, groups, attributes.isSigned, name)
  // The position of a whole file is that of its first frame.
  const isPlaced = frame === 0 || groups.some((group) => group.item('x00209113'))
  const plane = isPlaced ? geometry.plane : null
  return {
    geometry: { ...geometry, plane },
    columns: attributes.columns,
    rows: attributes.rows,
    channels,
    inverted: attributes.photometric === 'MONOCHROME1',
    modality,
    unit: channels === 1 ? unitOf(modality, transform.type) : null,
    instance: dataset.decimal('x00200013') ?? 0,
    window: channels === 1 ? voiOf(dataset, groups, mayBeNegative(transform, attributes)) : null,
    source: {
      sopClassUid: dataset.text('x00080016') ?? null,
      sopInstanceUid: dataset.text('x00080018') ?? null,
      frame: frame + 1,
      position: plane?.position ?? null,
    },
  }
}

/** CT is in Hounsfield units where the file does not say otherwise; `US` stands for unspecified. */
function unitOf(modality: string | null, type: string | null): string | null {
  if (type !== null && type !== 'US') return type
  return modality === 'CT' && type === null ? 'HU' : null
}

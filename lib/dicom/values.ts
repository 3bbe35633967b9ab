import { damaged } from '../files/limits.js'
import { type Physical, physical, type RawData } from '../files/numbers.js'
import type { DicomDataset } from './dataset.js'
import type { ImageAttributes } from './image-attributes.js'
import { lookupDescriptor, lookupValues } from './lookup-table.js'

/** How stored values become physical ones: a table, or a slope and an intercept. */
export interface ModalityTransform {
  slope: number
  intercept: number
  table: { first: number; values: Uint16Array } | null
  /** Rescale Type, such as `HU`, where the file has it. */
  type: string | null
}

/**
 * Modality LUT (PS3.3 C.11.1) or the Pixel Value Transformation of a frame (C.7.6.16.2.9).
 *
 * @param frame functional groups of a frame, the most particular first
 * @throws SegSamError `INVALID_IMAGE`
 */
export function modalityTransform(
  dataset: DicomDataset,
  frame: readonly DicomDataset[],
  isSigned: boolean,
  name: string,
): ModalityTransform {
  const lut = dataset.item('x00283000')
  if (lut) {
    const descriptor = lookupDescriptor(lut, 'x00283002', isSigned)
    const values = descriptor && lookupValues(lut, 'x00283006', descriptor)
    if (!values) throw damaged(name, 'its modality LUT is too short')
    const type = lut.text('x00283004') ?? null
    return { slope: 1, intercept: 0, table: { first: descriptor.first, values }, type }
  }
  const transformed = frame.find((group) => group.item('x00289145'))?.item('x00289145') ?? dataset
  return {
    slope: numberOr(transformed, 'x00281053', 1, name),
    intercept: numberOr(transformed, 'x00281052', 0, name),
    table: null,
    type: transformed.text('x00281054') ?? null,
  }
}

/** Whether a stored value may become a negative one. */
export function mayBeNegative({ slope, intercept, table }: ModalityTransform, attributes: ImageAttributes): boolean {
  if (table) return false
  const { bitsStored, isSigned } = attributes
  const [low, high] = isSigned ? [-(2 ** (bitsStored - 1)), 2 ** (bitsStored - 1) - 1] : [0, 2 ** bitsStored - 1]
  return low * slope + intercept < 0 || high * slope + intercept < 0
}

export function applyModality(raw: RawData, { slope, intercept, table }: ModalityTransform): Physical {
  if (!table) return physical(raw, slope, intercept)
  const last = table.values.length - 1
  const data = new Uint16Array(raw.length)
  for (let i = 0; i < data.length; i++) {
    data[i] = table.values[Math.min(last, Math.max(0, Number(raw[i]!) - table.first))]!
  }
  return physical(data, 1, 0)
}

function numberOr(dataset: DicomDataset, tag: string, otherwise: number, name: string): number {
  if (dataset.text(tag) === undefined) return otherwise
  const value = dataset.decimal(tag)
  if (value === undefined) throw damaged(name, 'its rescale slope or intercept is no number')
  return value
}

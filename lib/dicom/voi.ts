import type { IntensityWindow } from '../window.js'
import type { DicomDataset } from './dataset.js'
import { lookupDescriptor, lookupValues } from './lookup-table.js'

/**
 * The first VOI LUT of a file, else its first window (PS3.3 C.11.2); `null` where it has none that holds.
 *
 * @param frame functional groups of a frame, the most particular first
 * @param isSigned the values that it is for may be negative
 */
export function voiOf(
  dataset: DicomDataset,
  frame: readonly DicomDataset[],
  isSigned: boolean,
): IntensityWindow | null {
  const voi = frame.find((group) => group.item('x00289132'))?.item('x00289132') ?? dataset
  return tableOf(voi, isSigned) ?? windowOf(voi)
}

function tableOf(voi: DicomDataset, isSigned: boolean): IntensityWindow | null {
  const lut = voi.item('x00283010')
  const vr = lut?.element('x00283002')?.vr
  const descriptor = lut && lookupDescriptor(lut, 'x00283002', vr === 'SS' || (vr !== 'US' && isSigned))
  const values = descriptor && lookupValues(lut, 'x00283006', descriptor)
  return values ? { kind: 'lut', first: descriptor.first, bits: descriptor.bits, outputs: [...values] } : null
}

function windowOf(voi: DicomDataset): IntensityWindow | null {
  const [center, width] = [voi.decimal('x00281050'), voi.decimal('x00281051')]
  if (center === undefined || width === undefined) return null
  const kind = voi.text('x00281056') ?? 'LINEAR'
  if (kind === 'SIGMOID') return width > 0 ? { kind: 'sigmoid', center, width } : null
  if (kind === 'LINEAR_EXACT') return width > 0 ? linear(center, width) : null
  // C.11.2.1.2.1: of width w the first w - 1 steps; a width of 1 is a threshold, drawn as steep as it can be.
  return width >= 1 ? linear(center - 0.5, Math.max(width - 1, 1e-6)) : null
}

function linear(center: number, width: number): IntensityWindow {
  return { kind: 'linear', low: center - width / 2, high: center + width / 2 }
}

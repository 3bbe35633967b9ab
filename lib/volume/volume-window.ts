import { automaticWindow } from '../image.js'
import type { Volume } from '../volume.js'
import type { WindowChoice } from '../window.js'

/** Values looked at for percentiles, at most: enough for a window, and quick. */
const SAMPLES = 2 ** 20

/**
 * One window for all slices of a volume: the one chosen, else that of the file, else of what is no 8-bit volume the 0.5 and
 * 99.5 percentiles of its values, of which a million is looked at. `undefined`: the values as they are.
 */
export function windowForVolume(volume: Volume, choice: WindowChoice | undefined): WindowChoice | undefined {
  if (choice !== undefined) return choice
  if (volume.channels !== 1) return undefined
  if (volume.window) return 'file'
  const { data, inverted } = volume
  if (data instanceof Uint8Array) return inverted ? [0, 255] : undefined
  const every = Math.ceil(data.length / SAMPLES)
  const samples = data.filter((value, i) => i % every === 0 && Number.isFinite(value))
  if (samples.length === 0) return [0, 1]
  return automaticWindow({ data: samples, width: samples.length, height: 1, channels: 1 })
}

import { unexpected } from './errors.js'

/**
 * How intensities become 8 bits. `linear`: `low` is black, `high` white, as the `window` of `model.encode`. `sigmoid` and
 * `lut` are DICOM's (PS3.3 C.11.2.1.3.1 and C.11.2.1.1); `lut` has an output for each intensity from `first` on.
 */
export type IntensityWindow =
  | { kind: 'linear'; low: number; high: number }
  | { kind: 'sigmoid'; center: number; width: number }
  | { kind: 'lut'; first: number; bits: number; outputs: readonly number[] }

/** The window that made an 8-bit image, enough to make it again. */
export type AppliedWindow = IntensityWindow & {
  /** Low intensities are white, as `MONOCHROME1` has it. */
  inverted: boolean
}

/** Windows of CT in Hounsfield units, by the name of what they show: [black, white]. */
export const WINDOW_PRESETS = Object.freeze({
  /** Width 80, level 40. */
  brain: [0, 80],
  /** Width 350, level 50. */
  mediastinum: [-125, 225],
  /** Width 400, level 40. */
  'soft-tissue': [-160, 240],
  /** Width 150, level 30. */
  liver: [-45, 105],
  /** Width 1500, level -600. */
  lung: [-1350, 150],
  /** Width 1800, level 400. */
  bone: [-500, 1300],
} as const)

export type WindowPreset = keyof typeof WINDOW_PRESETS

/** A window by its ends [black, white], by the name of a preset, or as the file has it. */
export type WindowChoice = readonly [low: number, high: number] | WindowPreset | 'file'

/** @throws SegSamError `INVALID_ARGUMENT`: no window, or `file` where the file has none */
export function chosenWindow(choice: WindowChoice, ofFile: IntensityWindow | null): IntensityWindow {
  if (choice === 'file') {
    if (ofFile) return ofFile
    throw unexpected(
      'INVALID_ARGUMENT',
      'window',
      choice,
      'a preset or [low, high] for a file without a window of its own',
    )
  }
  const ends = typeof choice === 'string' && Object.hasOwn(WINDOW_PRESETS, choice) ? WINDOW_PRESETS[choice] : choice
  const valid = Array.isArray(ends) && ends.length === 2 && ends.every(Number.isFinite) && ends[0] < ends[1]
  if (valid) return { kind: 'linear', low: ends[0], high: ends[1] }
  const names = Object.keys(WINDOW_PRESETS).join(', ')
  throw unexpected('INVALID_ARGUMENT', 'window', choice, `[low, high] with low < high, file, or a preset: ${names}`)
}

/** Intensities to 0..255, rounded. NaN is black. */
export function applyWindow(values: ArrayLike<number>, window: AppliedWindow): Uint8ClampedArray {
  const share = shareOf(window)
  const bytes = new Uint8ClampedArray(values.length)
  for (let i = 0; i < bytes.length; i++) {
    const value = share(values[i]!)
    bytes[i] = 255 * (window.inverted ? 1 - value : value)
  }
  return bytes
}

/** From intensity to 0..1, perhaps beyond. */
function shareOf(window: AppliedWindow): (value: number) => number {
  if (window.kind === 'linear') {
    const { low, high } = window
    return (value) => Math.min(1, Math.max(0, (value - low) / (high - low)))
  }
  if (window.kind === 'sigmoid') {
    const { center, width } = window
    return (value) => 1 / (1 + Math.exp((-4 * (value - center)) / width))
  }
  const { first, bits, outputs } = window
  const full = 2 ** bits - 1
  const last = outputs.length - 1
  return (value) => outputs[Math.min(last, Math.max(0, Math.trunc(value - first)))]! / full
}

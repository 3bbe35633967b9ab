/** Values of an image under a mask. */
export interface Intensity {
  mean: number
  /** Standard deviation of these values (divided by their number). */
  sd: number
  min: number
  max: number
  /** For example `HU`; `null` where it is not known. */
  unit: string | null
}

/** @returns `null` where a value is NaN or infinite */
export function intensityOf(values: Float64Array, unit: string | null): Intensity | null {
  if (!values.every(Number.isFinite)) return null
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
  return {
    mean,
    sd: Math.sqrt(variance),
    min: values.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY),
    max: values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY),
    unit,
  }
}

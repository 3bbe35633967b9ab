/** Quantile with linear interpolation between the ranks (method 7 of Hyndman and Fan 1996). */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) throw new RangeError('no values')
  const sorted = values.toSorted((a, b) => a - b)
  const place = (sorted.length - 1) * q
  const below = Math.floor(place)
  const low = sorted[below]!
  return low + (place - below) * ((sorted[below + 1] ?? low) - low)
}

export interface Summary {
  median: number
  /** Interquartile range. */
  iqr: number
  count: number
}

export function summarise(values: readonly number[]): Summary {
  return {
    median: quantile(values, 0.5),
    iqr: quantile(values, 0.75) - quantile(values, 0.25),
    count: values.length,
  }
}

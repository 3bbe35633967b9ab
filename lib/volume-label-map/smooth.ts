export type LabelValues = Uint8Array | Uint16Array

/**
 * The values of one slice by the majority of those around it; where none has one, its own.
 *
 * @param slices values of all slices, of one size
 * @param reach slices on each side that vote; fewer at the ends of the volume
 */
export function smoothedSlice(slices: readonly LabelValues[], index: number, reach: number): LabelValues {
  const own = slices[index]!
  const voters = slices.slice(Math.max(0, index - reach), index + reach + 1)
  if (reach === 0) return own
  const needed = voters.length / 2
  return own.map((value, at) => {
    let agree = 0
    for (const voter of voters) if (voter[at] === value) agree++
    if (agree > needed) return value
    // A majority other than the own value: there is at most one.
    for (const candidate of voters) {
      let votes = 0
      for (const voter of voters) if (voter[at] === candidate[at]) votes++
      if (votes > needed) return candidate[at]!
    }
    return value
  }) as LabelValues
}

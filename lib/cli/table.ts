/** Columns padded to the same width, two spaces between them. Columns named in `right` are aligned to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], right: readonly string[] = []) {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) =>
        right.includes(head[column]!) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join('  ')
      .trimEnd()
  return [line(head), ...rows.map(line)].join('\n')
}

/** `toFixed` alone writes a predicted IoU of -0.001 as -0.00. */
export function twoDigits(value: number): string {
  return (Math.round(100 * value) / 100 + 0).toFixed(2)
}

export function percent(probability: number): string {
  return `${Math.round(100 * probability)} %`
}

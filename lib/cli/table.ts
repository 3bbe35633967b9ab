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

/** Replaces what lies between `<!-- name -->` and `<!-- /name -->`. @throws Error where a marker is missing or twice there */
export function replaceBetween(page: string, name: string, content: string): string {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
  for (const marker of [open, close]) {
    if (page.split(marker).length !== 2) throw new Error(`the page must have ${marker} once`)
  }
  const [begin, end] = [page.indexOf(open) + open.length, page.indexOf(close)]
  if (end < begin) throw new Error(`${close} comes before ${open}`)
  return `${page.slice(0, begin)}\n\n${content.trim()}\n\n${page.slice(end)}`
}

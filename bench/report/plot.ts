import { SEG_SAM } from '../peer-kinds.js'
import type { Results } from '../results.js'
import { summarise } from '../statistics.js'
import { figure } from './tables.js'

const BAR = 16
const LABEL = 150
const SCALE = 420
const WIDTH = LABEL + SCALE + 110
const SHOWN = /^(encode|decode \d+|click to mask|image to mask)$/

/** Horizontal bars of the medians, one panel for each size and scenario, each on a scale of its own. */
export function plot({ rows }: Results): string {
  const panels = new Map<string, { peer: string; median: number; iqr: number }[]>()
  for (const { scenario, size, peer, values } of rows) {
    if (!SHOWN.test(scenario)) continue
    const title = `${size}, ${scenario} (ms)`
    panels.set(title, [...(panels.get(title) ?? []), { peer, ...summarise(values) }])
  }
  let y = 10
  const parts: string[] = []
  for (const [title, bars] of panels) {
    parts.push(text(0, y + 14, title, 'font-weight="bold"'))
    y += 22
    const most = Math.max(...bars.map(({ median }) => median))
    for (const { peer, median, iqr } of bars) {
      const length = (median / most) * SCALE
      const spread = (iqr / most) * SCALE
      const colour = peer === SEG_SAM ? '#1f6feb' : '#9aa4b2'
      parts.push(text(LABEL - 6, y + 12, peer, 'text-anchor="end"'))
      parts.push(`<rect x="${LABEL}" y="${y}" width="${length.toFixed(1)}" height="${BAR - 3}" fill="${colour}"/>`)
      const [from, to] = [LABEL + length - spread / 2, LABEL + length + spread / 2].map((x) => x.toFixed(1))
      parts.push(`<path d="M${from} ${y + BAR / 2 - 1}H${to}" stroke="#111" stroke-width="1.5"/>`)
      parts.push(text(Math.max(LABEL + length, Number(to)) + 6, y + 12, figure(median)))
      y += BAR
    }
    y += 12
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
${parts.join('\n')}
</svg>
`
}

function text(x: number, y: number, content: string, more = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y}" ${more}>${content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</text>`
}

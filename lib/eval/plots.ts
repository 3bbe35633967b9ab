import type { Reliability, RiskCoverage } from './calibration.js'
import type { Row } from './report.js'

/** Plots as inline SVG; colours are Okabe and Ito's. */
const BLUE = '#0072B2'
const ORANGE = '#E69F00'
const GRAY = '#767676'

const SIDE = 200
const LEFT = 44
const TOP = 10
const SIZE = { width: LEFT + SIDE + 12, height: TOP + SIDE + 40 }

/** Reliability diagram: what was said against what was true, one bar a bin, the diagonal being right. */
export function reliabilityPlot({ bins }: Reliability, title: string, [said, reached]: [string, string]): string {
  const bars = bins.map(({ from, to, true: height, count }) =>
    height === null
      ? ''
      : `<rect x="${x(from) + 1}" y="${y(height)}" width="${x(to) - x(from) - 2}" height="${y(0) - y(height)}" fill="${BLUE}"><title>${count} answers</title></rect>`,
  )
  const diagonal = `<path d="M${x(0)} ${y(0)}L${x(1)} ${y(1)}" stroke="${GRAY}" stroke-dasharray="4 3"/>`
  return svg(SIZE, title, [...bars, diagonal, axes(said, reached)])
}

/** Risk-coverage curve, and the mean risk as the line that an order without information has. */
export function riskCoveragePlot({ curve, chance }: RiskCoverage, title: string): string {
  if (chance === null) return ''
  const points = curve.map(({ coverage, risk }) => `${x(coverage).toFixed(1)} ${y(risk).toFixed(1)}`)
  return svg(SIZE, title, [
    `<path d="M${x(0)} ${y(chance)}L${x(1)} ${y(chance)}" stroke="${GRAY}" stroke-dasharray="4 3"/>`,
    `<path d="M${points.join('L')}" fill="none" stroke="${BLUE}" stroke-width="2"/>`,
    axes('coverage', 'mean 1 - Dice'),
  ])
}

/** Dice of each row as a bar, that of the ellipse in the box as an orange mark. */
export function dicePlot(rows: Record<string, Row>, title: string): string {
  const shown = Object.entries(rows).filter(([, { dice }]) => dice !== null)
  const nameWidth = 12 + 7 * Math.max(...shown.map(([name]) => name.length), 0)
  const at = (value: number) => nameWidth + 260 * value
  const lines = shown.map(([name, { dice, ellipseDice }], i) => {
    const top = 18 * i
    return (
      `<text x="${nameWidth - 6}" y="${top + 13}" text-anchor="end">${escaped(name)}</text>` +
      `<rect x="${at(0)}" y="${top + 3}" width="${at(dice!) - at(0)}" height="12" fill="${BLUE}"/>` +
      `<path d="M${at(ellipseDice!)} ${top + 1}v16" stroke="${ORANGE}" stroke-width="3"/>` +
      `<text x="${at(1) + 8}" y="${top + 13}">${dice!.toFixed(3)}</text>`
    )
  })
  return svg({ width: at(1) + 60, height: 18 * shown.length + 4 }, title, lines)
}

function x(value: number): number {
  return LEFT + SIDE * value
}

function y(value: number): number {
  return TOP + SIDE * (1 - value)
}

function axes(across: string, up: string): string {
  const ticks = [0, 0.5, 1].map(
    (value) =>
      `<text x="${x(value)}" y="${y(0) + 16}" text-anchor="middle">${value}</text>` +
      `<text x="${LEFT - 6}" y="${y(value) + 4}" text-anchor="end">${value}</text>`,
  )
  return (
    `<path d="M${x(0)} ${y(1)}V${y(0)}H${x(1)}" fill="none" stroke="${GRAY}"/>${ticks.join('')}` +
    `<text x="${x(0.5)}" y="${y(0) + 34}" text-anchor="middle">${escaped(across)}</text>` +
    `<text transform="translate(14 ${y(0.5)}) rotate(-90)" text-anchor="middle">${escaped(up)}</text>`
  )
}

function svg({ width, height }: { width: number; height: number }, title: string, content: readonly string[]): string {
  return (
    `<svg role="img" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">` +
    `<title>${escaped(title)}</title>${content.join('')}</svg>`
  )
}

/** Text for HTML and SVG, in quoted attributes too. */
export function escaped(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
  return text.replaceAll(/[&<>"']/g, (character) => entities[character]!)
}

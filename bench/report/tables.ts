import { SEG_SAM } from '../peer-kinds.js'
import { type Results, type Row, rowOf } from '../results.js'
import { summarise } from '../statistics.js'
import { verdicts } from './targets.js'

/** Markdown, which reads well on a terminal too once its columns are aligned. */
export function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((text, i) => Math.max(text.length, 3, ...rows.map((row) => row[i]!.length)))
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`
  return [line(header), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')
}

export function machineTable({ machine, date, loaded, peers, quick }: Results): string {
  const { rates } = machine
  const facts: [string, string][] = [
    ['date', quick ? `${date} (quick run: no measurement)` : date],
    ['processor', `${machine.cpu}, ${machine.cores} cores, ${(machine.memory / 2 ** 30).toFixed(0)} GiB`],
    ['instruction sets', machine.flags.join(', ')],
    ['load when it began', machine.load.toFixed(2)],
    ...(rates?.gpu ? [['GPU, which the rates below are of', rates.gpu] as [string, string]] : []),
    ['fp32 matrix products', rates ? `${giga(rates.fp32Flops)} GFLOP/s` : 'not measured'],
    ['bf16 matrix products', rates?.bf16Flops ? `${giga(rates.bf16Flops)} GFLOP/s` : 'not in hardware'],
    ['copying', rates ? `${giga(rates.copyBytes)} GB/s read and written` : 'not measured'],
    ['Node.js', machine.node],
  ]
  for (const [name, notes] of Object.entries(loaded)) {
    const told = Object.entries(notes)
      .filter(([, value]) => value !== '')
      .map(([key, value]) => `${key} ${value}`)
    facts.push([name, [peers[name], ...told].filter(Boolean).join('; ')])
  }
  return markdownTable(['machine and versions', ''], facts)
}

export function agreementTable({ checked }: Results): string {
  const rows = checked.map(({ size, peer, agreement, failure }) => [
    size,
    peer,
    agreement ? agreement.dice.toFixed(4) : '',
    agreement ? agreement.relativeError.toExponential(1) : '',
    agreement ? agreement.iouError.toExponential(1) : '',
    failure ?? (agreement ? 'agrees' : 'nothing to compare with'),
  ])
  return markdownTable(['size', 'peer', 'Dice', 'largest error of logits', 'of IoU', ''], rows)
}

/** Ratio: how many times as good seg-sam is; above 1 it is faster, or takes less. */
export function rowsTable(results: Results): string {
  const rows = results.rows.map((row) => {
    const { median, iqr, count } = summarise(row.values)
    const own = rowOf(results, row.scenario, row.size, SEG_SAM)
    return [
      row.size,
      row.scenario,
      row.peer,
      `${figure(median)} ${row.unit === 'ratio' ? '' : row.unit}`.trim(),
      count > 1 ? figure(iqr) : '',
      String(count),
      own && own !== row && row.unit !== 'ratio' ? ratioOf(row, own).toFixed(2) : '',
      floorShare(row, results) ?? '',
    ]
  })
  return markdownTable(['size', 'scenario', 'peer', 'median', 'IQR', 'n', 'to seg-sam', 'share of floor'], rows)
}

export function targetsTable(results: Results): string {
  const rows = verdicts(results).map(({ target, wanted, reached, met }) => [
    target,
    wanted,
    reached ?? 'not yet measured',
    reached === null ? '' : met ? 'yes' : 'no',
  ])
  return markdownTable(['target', 'wanted', 'reached', 'met'], rows)
}

/** Time of `own` to that of the peer's, or throughput the other way round: above 1 seg-sam is better. */
export function ratioOf(row: Pick<Row, 'unit' | 'values'>, own: Pick<Row, 'values'>): number {
  const [theirs, ours] = [summarise(row.values).median, summarise(own.values).median]
  return row.unit === 'requests/s' ? ours / theirs : theirs / ours
}

/** The time that the arithmetic would take at the measured rate of matrix products, as a share of the time taken. */
export function shareOfFloor(flops: number, rate: number, milliseconds: number): number {
  return flops / rate / (milliseconds / 1000)
}

function floorShare({ flops, bf16, unit, values }: Row, { machine: { rates } }: Results): string | null {
  if (!flops || !rates || unit !== 'ms') return null
  const rate = bf16 && rates.bf16Flops ? rates.bf16Flops : rates.fp32Flops
  return `${(100 * shareOfFloor(flops, rate, summarise(values).median)).toFixed(0)} %`
}

export function figure(value: number): string {
  if (value >= 100) return value.toFixed(0)
  return value.toPrecision(3)
}

function giga(value: number): string {
  return (value / 1e9).toFixed(1)
}

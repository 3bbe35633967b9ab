import { describe, expect, it } from 'vitest'
import { agreementOf, agrees, EXACT } from '../bench/agreement.js'
import { interleaved } from '../bench/interleaved.js'
import { readOptions } from '../bench/options.js'
import { replaceBetween } from '../bench/report/markers.js'
import { plot } from '../bench/report/plot.js'
import { markdownTable, ratioOf, rowsTable, shareOfFloor, targetsTable } from '../bench/report/tables.js'
import { joined, type Results, type Row } from '../bench/results.js'
import { AT_ONCE } from '../bench/scenarios/throughput.js'
import { flopsOf } from '../bench/size.js'
import { quantile, summarise } from '../bench/statistics.js'

describe('statistics', () => {
  // numpy.percentile([3, 1, 4, 1, 5, 9, 2, 6], [25, 50, 75, 90])
  it('quantiles are those of NumPy', () => {
    const values = [3, 1, 4, 1, 5, 9, 2, 6]
    expect([0.25, 0.5, 0.75, 0.9].map((q) => quantile(values, q))).toEqual(
      [1.75, 3.5, 5.25, 6.9].map((v) => expect.closeTo(v, 10)),
    )
    expect(summarise(values)).toEqual({ median: 3.5, iqr: 3.5, count: 8 })
  })

  it('one value is its own median, and no value has none', () => {
    expect(summarise([7])).toEqual({ median: 7, iqr: 0, count: 1 })
    expect(() => summarise([])).toThrow('no values')
  })
})

describe('arithmetic', () => {
  it('a decode costs what is done once and what each prompt adds', () => {
    expect(flopsOf({ once: 5e9, each: 2e9 }, 64)).toBe(133e9)
  })

  it('a time at the full rate of matrix products is all floor', () => {
    expect(shareOfFloor(50e9, 100e9, 500)).toBe(1)
    expect(shareOfFloor(50e9, 100e9, 2000)).toBe(0.25)
  })

  it('a ratio above 1 means that seg-sam is better, for times and for throughput', () => {
    expect(ratioOf({ unit: 'ms', values: [30] }, { values: [10] })).toBe(3)
    expect(ratioOf({ unit: 'requests/s', values: [10] }, { values: [30] })).toBe(3)
  })
})

describe('agreement', () => {
  const masks = (logits: number[], iou: number[]) => Float32Array.from([...logits, ...iou])

  it('is complete for equal outputs', () => {
    const outputs = masks([1, -1, 2, -2, 3, 3, -1, -1], [0.5, 0.6])
    expect(agreementOf(outputs, outputs, 2, 4)).toEqual({ dice: 1, relativeError: 0, iouError: 0 })
  })

  it('has the Dice of the masks, and errors relative to the largest logit', () => {
    const found = agreementOf(masks([1, 1, -1, -1], [0.5]), masks([1, -3, -1, -1], [0.25]), 1, 4)
    expect(found.dice).toBeCloseTo(2 / 3, 10)
    expect(found.relativeError).toBeCloseTo(4 / 3, 6)
    expect(found.iouError).toBe(0.25)
    expect(agrees(found, EXACT)).toBe(false)
  })

  it('is refused where a logit is not a number, or the length is another', () => {
    expect(agrees(agreementOf(masks([Number.NaN, 1], [0]), masks([1, 1], [0]), 1, 2), EXACT)).toBe(false)
    expect(() => agreementOf(new Float32Array(3), new Float32Array(4), 1, 3)).toThrow('3 and 4 values, not 4')
  })
})

describe('interleaved', () => {
  it('measures in turn, begins with another each round, and leaves the warm-ups and the failing out', async () => {
    const order: string[] = []
    const call = (name: string) => async () => {
      order.push(name)
      if (name === 'b' && order.filter((one) => one === 'b').length === 3) throw new Error('gone')
      return order.length
    }
    const calls = new Map(['a', 'b', 'c'].map((name) => [name, call(name)]))
    const { times, failures } = await interleaved(calls, { warmUps: 1, least: 2, most: 2, budgetMs: 0 })
    expect(order).toEqual(['a', 'b', 'c', 'b', 'c', 'a', 'c', 'a', 'b'])
    expect(times.get('a')).toEqual([6, 8])
    expect(times.has('b')).toBe(false)
    expect(failures.get('b')).toBe('gone')
  })
})

describe('report', () => {
  const row = (scenario: string, peer: string, values: number[], more: Partial<Row> = {}): Row => ({
    scenario,
    size: 'vit_b-1024',
    peer,
    unit: 'ms',
    values,
    ...more,
  })
  const results: Results = {
    schema: 1,
    date: '2000-01-01',
    quick: false,
    device: 'cpu',
    machine: {
      cpu: 'a processor',
      cores: 2,
      memory: 2 ** 34,
      flags: [],
      node: 'v20',
      rates: { fp32Flops: 100e9, bf16Flops: null, copyBytes: 1e9, threads: 2 },
      load: 0,
    },
    loaded: { 'seg-sam': { precision: 'fp32' } },
    peers: {},
    checked: [],
    weights: { 'vit_b-1024': 400e6 },
    rows: [
      row('encode', 'seg-sam', [1000, 1000, 1000], { flops: 50e9 }),
      row('encode', 'onnxruntime', [2000, 2000, 3000], { flops: 50e9 }),
      row('memory: at rest', 'seg-sam', [700], { unit: 'MB' }),
      row('memory: peak of an encode', 'seg-sam', [900], { unit: 'MB' }),
    ],
    notes: [],
  }

  it('rows have the ratio to seg-sam and the share of the floor', () => {
    const lines = rowsTable(results)
      .split('\n')
      .map((line) => line.split('|').map((cell) => cell.trim()))
    expect(lines[2]!.slice(3, 9)).toEqual(['seg-sam', '1000 ms', '0.00', '3', '', '50 %'])
    expect(lines[3]!.slice(3, 9)).toEqual(['onnxruntime', '2000 ms', '500', '3', '2.00', '25 %'])
  })

  it('targets say what was reached, and "not yet measured" for what was not', () => {
    const lines = targetsTable(results).split('\n')
    const cells = (start: string) =>
      lines
        .find((line) => line.includes(start))!
        .split('|')
        .map((cell) => cell.trim())
    expect(cells('fp32 against onnxruntime fp32').slice(3, 5)).toEqual(['2.00×', 'yes'])
    expect(cells('resident memory').slice(3, 5)).toEqual(['1.75 × (700 MB; 900 MB in an encode)', 'no'])
    expect(cells('decode 64 prompts')[3]).toBe('not yet measured')
  })

  it('targets of a GPU are those of a run there, as a ratio to PyTorch, too', () => {
    expect(targetsTable(results)).not.toContain('images/s')
    const atOnce = [row(AT_ONCE.encode, 'seg-sam', [2.5]), row(AT_ONCE.encode, 'pytorch-bf16', [10])]
    const lines = targetsTable({ ...results, device: 'cuda', rows: atOnce }).split('\n')
    expect(lines).toHaveLength(5)
    expect(lines[2]).toMatch(/≥ 300 images\/s .* 400\/s, 4\.0× pytorch-bf16 .* yes/)
    for (const line of lines.slice(3)) expect(line).toContain('not yet measured')
  })

  it('a run in parts has the newest of each row, and no other machine or day', () => {
    const later = { ...results, rows: [row('encode', 'seg-sam', [900]), row('decode 1', 'seg-sam', [10])] }
    const { rows } = joined(results, later)
    const ofSegSam = rows.filter(({ peer, unit }) => peer === 'seg-sam' && unit === 'ms')
    expect(ofSegSam.map(({ scenario, values }) => [scenario, values])).toEqual([
      ['encode', [900]],
      ['decode 1', [10]],
    ])
    expect(rows).toHaveLength(5)
    expect(() => joined({ ...results, date: '1999-01-01' }, later)).toThrow(/1999-01-01.*2000-01-01/)
    expect(() => joined(results, { ...later, machine: { ...results.machine, cpu: 'another' } })).toThrow('another')
  })

  it('tables are aligned, with a rule under the header', () => {
    expect(markdownTable(['a', 'long'], [['value', 'b']])).toBe('| a     | long |\n| ----- | ---- |\n| value | b    |')
  })

  it('a page is rewritten between its markers alone', () => {
    const page = 'before\n<!-- x -->\nold\n<!-- /x -->\nafter\n'
    const once = replaceBetween(page, 'x', 'new')
    expect(once).toBe('before\n<!-- x -->\n\nnew\n\n<!-- /x -->\nafter\n')
    expect(replaceBetween(once, 'x', 'new')).toBe(once)
    expect(() => replaceBetween(page, 'y', 'new')).toThrow('<!-- y --> once')
    expect(() => replaceBetween('<!-- /x --> <!-- x -->', 'x', '')).toThrow('comes before')
  })

  it('the plot has a bar for each peer', () => {
    const svg = plot(results)
    expect(svg.match(/<rect x=/g)).toHaveLength(2)
    expect(svg).toContain('vit_b-1024, encode (ms)')
  })
})

describe('options', () => {
  it('lists are checked', () => {
    expect(readOptions(['--only', 'encode,decode', '--sizes', 'tiny-256']).only).toEqual(['encode', 'decode'])
    expect(() => readOptions(['--only', 'coffee'])).toThrow('--only: coffee is none of encode')
    expect(() => readOptions(['--budget', 'soon'])).toThrow('--budget takes a number above 0')
  })
})

import { describe, expect, test } from 'vitest'
import { htmlOf } from '../lib/eval/html.js'
import type { ImageRecord, Naming, ObjectRecord, RecordHeader } from '../lib/eval/records.js'
import { csvOf, type Report, reportOf } from '../lib/eval/report.js'

const run: RecordHeader = {
  schema: 1,
  bundle: { name: 'b', version: '1', hash: '00', device: 'cpu', precision: 'fp32' },
  sets: [],
  prompts: ['box'],
  split: 'test',
  seed: 0,
  limit: null,
  tolerance: 2,
  multimask: false,
}

function object(number: number, id: string, dice: number, naming: Naming | null, hd95 = 5): ObjectRecord {
  const binary = { dice, iou: dice / (2 - dice), nsd: dice, hd95 }
  const semantic = { ...binary, dice: dice / 2 }
  const box = { binary, semantic, predictedIou: 0.5, agreement: dice, naming }
  return { number, class: id, area: 50, ellipseDice: 0.9, prompts: { box } }
}

function naming(rank: number, others: Partial<Naming['others']> = {}): Naming {
  return { rank, probability: 0.6, others: { found: [], wrong: [], missed: [], ...others } }
}

function image(name: string, objects: ObjectRecord[], about: Partial<ImageRecord> = {}): ImageRecord {
  const facts = { set: 's', subject: name, modality: 'ct', unit: 'px' as const, absenceKnown: true, leftOut: [] }
  return { ...facts, image: name, objects, ...about }
}

const CARDS = new Set(['liver', 'spleen', 'a,"b"'])

function report(records: ImageRecord[]): Report {
  return reportOf('0.0.0', run, records, [], CARDS)
}

describe('reportOf', () => {
  test('takes means over objects, by set, modality and class', () => {
    const { overall, sets, modalities, classes } = report([
      image('1', [object(1, 'liver', 1, naming(0)), object(2, 'spleen', 0.5, naming(2))], { subject: 'x' }),
      image('2', [object(1, 'liver', 0.6, naming(3))], { subject: 'x', set: 't', modality: 'mr', unit: 'mm' }),
    ]).prompts.box!
    expect(overall).toMatchObject({ objects: 3, images: 2, subjects: 2, ellipseDice: expect.closeTo(0.9) })
    expect(overall.dice).toBeCloseTo(0.7, 12)
    expect(overall.semanticDice).toBeCloseTo(0.35, 12)
    expect(overall.classRight).toBeCloseTo(1 / 3, 12)
    expect(overall.classTop3).toBeCloseTo(2 / 3, 12)
    expect(Object.keys(sets)).toEqual(['s', 't'])
    expect(sets.s!.dice).toBeCloseTo(0.75, 12)
    expect(modalities.mr).toMatchObject({ dice: 0.6, hd95Mm: 5, hd95Px: null })
    expect(modalities.ct).toMatchObject({ hd95Mm: null, hd95Px: 5 })
    expect(classes.liver!.dice).toBeCloseTo(0.8, 12)
    expect(classes.spleen!.objects).toBe(1)
  })

  test('counts unprompted classes, false ones only where absence is known', () => {
    const { overall, classes } = report([
      image('1', [
        object(1, 'liver', 1, naming(0, { found: ['spleen'], wrong: ['colon', 'rib'] })),
        object(2, 'spleen', 1, naming(0, { missed: ['liver'] })),
      ]),
      image('2', [object(1, 'liver', 1, naming(0, { found: ['spleen'], missed: ['rib'] }))], { absenceKnown: false }),
    ]).prompts.box!
    expect(overall.othersPrecision).toBeCloseTo(1 / 3, 12)
    expect(overall.othersRecall).toBeCloseTo(2 / 4, 12)
    expect(overall.othersF1).toBeCloseTo((2 * (1 / 3) * 0.5) / (1 / 3 + 0.5), 12)
    expect(classes.spleen).toMatchObject({ othersPrecision: 1, othersRecall: 1, othersF1: 1, objects: 1 })
    // Never prompted, so that there is no mask to judge.
    expect(classes.rib).toMatchObject({ objects: 0, dice: null, othersPrecision: 0, othersRecall: 0, othersF1: 0 })
    expect(classes.colon).toMatchObject({ othersPrecision: 0, othersRecall: null, othersF1: null })
  })

  test('leaves names out of the means where they were not measured, and says of which classes', () => {
    const { prompts, leftOut } = report([
      image('1', [object(1, 'mystery', 0.5, null), object(2, 'liver', 1, naming(0))], { leftOut: ['bad.png is bad'] }),
    ])
    expect(prompts.box!.overall).toMatchObject({ objects: 2, dice: 0.75, classRight: 1 })
    expect(prompts.box!.classes.mystery).toMatchObject({ dice: 0.5, classRight: null })
    expect(prompts.box!.calibration.classProbability.count).toBe(1)
    expect(leftOut).toEqual([
      { what: 's/1', why: 'bad.png is bad' },
      { what: 'class mystery', why: expect.stringMatching(/no card.*1 objects.*Add a card/) },
    ])
  })

  test('calibrates agreement by Dice and predicted IoU by IoU', () => {
    const { calibration, riskCoverage } = report([
      image('1', [object(1, 'liver', 0.95, naming(0)), object(2, 'liver', 0.25, naming(1))]),
    ]).prompts.box!
    expect(calibration.agreement.error).toBeCloseTo(0, 12)
    expect(calibration.predictedIou.error).toBeCloseTo(Math.abs(0.5 - (0.95 / 1.05 + 0.25 / 1.75) / 2), 12)
    expect(calibration.classProbability.error).toBeCloseTo(0.1, 12)
    expect(riskCoverage.area).toBeCloseTo((0.05 + 0.4) / 2, 12)
  })

  test('does not depend on the order of the records, and chooses the best, median and worst of each set', () => {
    const records = [0.2, 0.9, 0.5, 0.7, 0.6].map((dice, i) => image(`${i}`, [object(i, 'liver', dice, null)]))
    const { cases } = report(records)
    expect(cases.map(({ which, dice, image: name }) => [which, dice, name])).toEqual([
      ['best', 0.9, '1'],
      ['median', 0.6, '4'],
      ['worst', 0.2, '0'],
    ])
    expect(report(records.toReversed())).toEqual(report(records))
  })
})

test('csvOf quotes what needs it, and has a line for each row', () => {
  const lines = csvOf(report([image('1', [object(1, 'a,"b"', 0.5, null)])])).split('\r\n')
  expect(lines[0]).toMatch(/^prompt,group,name,objects,images,subjects,dice,iou,nsd,hd95Mm,hd95Px,semanticDice,/)
  expect(lines[4]).toMatch(/^box,class,"a,""b""",1,1,1,0\.5,/)
  expect(lines[4]!.endsWith(',,,,,')).toBe(true)
  expect(lines).toHaveLength(6)
})

test('htmlOf tells of semantic masks only where there are some', () => {
  const page = (one: ObjectRecord) => {
    const measured = report([image('1', [one])])
    return htmlOf(measured, new Map([[measured.cases[0]!, 'data:image/webp;base64,AAAA']]))
  }
  const trained = object(1, 'a', 0.5, naming(0))
  expect(page(trained)).toContain('semantic mask (dashed)')
  const box = { ...trained.prompts.box!, semantic: null, agreement: null, naming: null }
  expect(page({ ...trained, prompts: { box } })).not.toContain('semantic')
})

test('htmlOf needs no other file, and takes names for text only', () => {
  const evil = '<script>alert(1)</script>'
  const measured = report([image(evil, [object(1, evil, 0.5, naming(0))], { set: evil, leftOut: [`${evil} & more`] })])
  const html = htmlOf(measured, new Map([[measured.cases[0]!, 'data:image/webp;base64,AAAA']]))
  expect(html).not.toContain('<script')
  expect(html).toContain('&lt;script&gt;alert(1)&lt;/script&gt; &amp; more')
  expect(html).toContain('<img src="data:image/webp;base64,AAAA"')
  expect(html.match(/(src|href)="(?!data:)/)).toBeNull()
  expect(html).not.toContain('NaN')
  expect(html).not.toContain('undefined')
})

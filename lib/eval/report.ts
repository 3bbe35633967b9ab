import { csvOfRows } from '../csv.js'
import { mean, type Reliability, type RiskCoverage, reliability, riskCoverage } from './calibration.js'
import type { LeftOut } from './measure.js'
import type { MaskScores } from './metrics.js'
import type { PromptKind } from './prompts.js'
import type { ImageRecord, ObjectRecord, PromptRecord, RecordHeader } from './records.js'

/** What `report.json` holds; described in docs/evaluation.md. */
export interface Report {
  schema: 1
  /** Version of seg-sam. */
  version: string
  /** How it was measured: the header of the records. */
  run: RecordHeader
  leftOut: LeftOut[]
  /** By kind of prompt. */
  prompts: Record<string, PromptReport>
  cases: Case[]
}

export interface PromptReport {
  overall: Row
  sets: Record<string, Row>
  modalities: Record<string, Row>
  classes: Record<string, Row>
  calibration: {
    /** Probability of the class ranked first, and whether it is right. */
    classProbability: Reliability
    /** Predicted IoU, and the IoU of the binary mask. */
    predictedIou: Reliability
    /** IoU of the two decoders' masks, and the Dice of the binary mask. */
    agreement: Reliability
  }
  /** How well `agreement` finds bad masks; risk is 1 - Dice of the binary mask. */
  riskCoverage: RiskCoverage
}

/** Means over objects; `null` where there is nothing to take the mean of. */
export interface Row {
  objects: number
  images: number
  subjects: number
  dice: number | null
  iou: number | null
  nsd: number | null
  hd95Mm: number | null
  hd95Px: number | null
  semanticDice: number | null
  semanticIou: number | null
  semanticNsd: number | null
  semanticHd95Mm: number | null
  semanticHd95Px: number | null
  ellipseDice: number | null
  classRight: number | null
  classTop3: number | null
  /** Of the classes of unprompted objects; in the row of a class, of that class. */
  othersPrecision: number | null
  othersRecall: number | null
  othersF1: number | null
}

/** An object whose picture stands for others. */
export interface Case {
  which: 'best' | 'median' | 'worst'
  set: string
  image: string
  /** Of the object in its image. */
  number: number
  class: string
  prompt: PromptKind
  /** Of the binary and of the semantic mask. */
  dice: number
  semanticDice: number | null
}

/** One answer with everything it is grouped by. */
interface Measured {
  image: ImageRecord
  object: ObjectRecord
  answer: PromptRecord
}

export function reportOf(
  version: string,
  run: RecordHeader,
  records: readonly ImageRecord[],
  leftOut: readonly LeftOut[],
  cards: ReadonlySet<string>,
): Report {
  const sorted = [...records].sort((a, b) => order(a.set, b.set) || order(a.image, b.image))
  const prompts = Object.fromEntries(run.prompts.map((kind) => [kind, promptReport(measuredBy(kind, sorted))]))
  const unreadable = sorted.flatMap(({ set, image, leftOut: why }) =>
    why.map((reason) => ({ what: `${set}/${image}`, why: reason })),
  )
  return {
    schema: 1,
    version,
    run,
    leftOut: [...leftOut, ...unreadable, ...withoutCard(sorted, cards)],
    prompts,
    cases: casesOf(run.prompts[0]!, measuredBy(run.prompts[0]!, sorted)),
  }
}

function withoutCard(records: readonly ImageRecord[], cards: ReadonlySet<string>): LeftOut[] {
  const counts = new Map<string, number>()
  for (const object of records.flatMap(({ objects }) => objects)) {
    if (!cards.has(object.class)) counts.set(object.class, (counts.get(object.class) ?? 0) + 1)
  }
  return [...counts].map(([id, count]) => ({
    what: `class ${id}`,
    why:
      `The bundle has no card for it, so the names of its ${count} objects are not measured, their masks are. ` +
      'Add a card to classes.json of the bundle, or rename the class to one that it has.',
  }))
}

function measuredBy(kind: PromptKind, records: readonly ImageRecord[]): Measured[] {
  return records.flatMap((image) =>
    image.objects.map((object) => ({ image, object, answer: object.prompts[kind] as PromptRecord })),
  )
}

function promptReport(all: readonly Measured[]): PromptReport {
  const answers = all.map(({ answer }) => answer)
  const agreements = answers.flatMap(({ agreement, binary }) =>
    agreement === null ? [] : [{ said: agreement, true: binary.dice }],
  )
  const named = answers.flatMap(({ naming }) => (naming ? [naming] : []))
  const classes = new Set([
    ...all.map(({ object }) => object.class),
    ...named.flatMap(({ others }) => [...others.found, ...others.wrong, ...others.missed]),
  ])
  return {
    overall: rowOf(all, all, null),
    sets: rowsBy(all, ({ image }) => image.set),
    modalities: rowsBy(all, ({ image }) => image.modality),
    classes: Object.fromEntries(
      [...classes].sort(order).map((id) => [
        id,
        rowOf(
          all.filter(({ object }) => object.class === id),
          all,
          id,
        ),
      ]),
    ),
    calibration: {
      classProbability: reliability(
        named.map(({ probability, rank }) => ({ said: probability, true: rank === 0 ? 1 : 0 })),
      ),
      predictedIou: reliability(answers.map(({ predictedIou, binary }) => ({ said: predictedIou, true: binary.iou }))),
      agreement: reliability(agreements),
    },
    riskCoverage: riskCoverage(agreements),
  }
}

function rowsBy(all: readonly Measured[], key: (one: Measured) => string): Record<string, Row> {
  const keys = [...new Set(all.map(key))].sort(order)
  return Object.fromEntries(
    keys.map((name) => {
      const group = all.filter((one) => key(one) === name)
      return [name, rowOf(group, group, null)]
    }),
  )
}

/** @param judging answers that may name the unprompted class `other` (`null`: any) */
function rowOf(group: readonly Measured[], judging: readonly Measured[], other: string | null): Row {
  const binary = maskMeans(group, ({ binary }) => binary)
  const semantic = maskMeans(group, ({ semantic }) => semantic)
  const ranks = group.flatMap(({ answer }) => (answer.naming ? [answer.naming.rank] : []))
  return {
    objects: group.length,
    images: new Set(group.map(({ image }) => image)).size,
    subjects: new Set(group.map(({ image }) => `${image.set}\n${image.subject}`)).size,
    ...binary,
    semanticDice: semantic.dice,
    semanticIou: semantic.iou,
    semanticNsd: semantic.nsd,
    semanticHd95Mm: semantic.hd95Mm,
    semanticHd95Px: semantic.hd95Px,
    ellipseDice: mean(group.map(({ object }) => object.ellipseDice)),
    classRight: mean(ranks.map((rank) => (rank === 0 ? 1 : 0))),
    classTop3: mean(ranks.map((rank) => (rank < 3 ? 1 : 0))),
    ...othersOf(judging, other),
  }
}

function maskMeans(group: readonly Measured[], scoresOf: (answer: PromptRecord) => MaskScores | null) {
  const of = (score: keyof MaskScores, unit?: 'mm' | 'px') =>
    mean(
      group
        .filter(({ image }) => unit === undefined || image.unit === unit)
        .flatMap(({ answer }) => scoresOf(answer)?.[score] ?? []),
    )
  return { dice: of('dice'), iou: of('iou'), nsd: of('nsd'), hd95Mm: of('hd95', 'mm'), hd95Px: of('hd95', 'px') }
}

/** Recall counts every class that is in the image, precision only images where absence is known. */
function othersOf(judging: readonly Measured[], other: string | null) {
  const count = (ids: readonly string[]) => (other === null ? ids.length : ids.filter((id) => id === other).length)
  const total = { found: 0, foundWhereKnown: 0, wrong: 0, missed: 0 }
  for (const { answer, image } of judging) {
    if (!answer.naming) continue
    const { found, wrong, missed } = answer.naming.others
    total.found += count(found)
    total.foundWhereKnown += image.absenceKnown ? count(found) : 0
    total.wrong += count(wrong)
    total.missed += count(missed)
  }
  const precision = share(total.foundWhereKnown, total.foundWhereKnown + total.wrong)
  const recall = share(total.found, total.found + total.missed)
  const f1 = precision === null || recall === null ? null : (share(2 * precision * recall, precision + recall) ?? 0)
  return { othersPrecision: precision, othersRecall: recall, othersF1: f1 }
}

function share(part: number, whole: number): number | null {
  return whole === 0 ? null : part / whole
}

/** Of each set the object with the best, the median and the worst binary mask. */
function casesOf(prompt: PromptKind, all: readonly Measured[]): Case[] {
  const sets = [...new Set(all.map(({ image }) => image.set))]
  return sets.flatMap((set) => {
    const ranked = all
      .filter(({ image }) => image.set === set)
      .sort((a, b) => b.answer.binary.dice - a.answer.binary.dice)
    const places = { best: 0, median: Math.floor((ranked.length - 1) / 2), worst: ranked.length - 1 } as const
    return Object.entries(places).map(([which, place]) => {
      const { image, object, answer } = ranked[place]!
      return {
        which: which as Case['which'],
        set,
        image: image.image,
        number: object.number,
        class: object.class,
        prompt,
        dice: answer.binary.dice,
        semanticDice: answer.semantic?.dice ?? null,
      }
    })
  })
}

/** By code unit, the same on every machine. */
function order(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

/** Every row of the report as RFC 4180 CSV, fractions in full; an empty cell where there is no value. */
export function csvOf(report: Report): string {
  const lines = Object.entries(report.prompts).flatMap(([prompt, { overall, sets, modalities, classes }]) => [
    ['overall', '', prompt, overall] as const,
    ...Object.entries(sets).map(([name, row]) => ['set', name, prompt, row] as const),
    ...Object.entries(modalities).map(([name, row]) => ['modality', name, prompt, row] as const),
    ...Object.entries(classes).map(([name, row]) => ['class', name, prompt, row] as const),
  ])
  const columns = lines.length === 0 ? [] : (Object.keys(lines[0]![3]) as (keyof Row)[])
  const rows = lines.map(([group, name, prompt, row]) => [prompt, group, name, ...columns.map((key) => row[key])])
  return csvOfRows([['prompt', 'group', 'name', ...columns], ...rows])
}

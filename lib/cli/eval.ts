import { Command, InvalidArgumentError, Option } from 'commander'
import type { Device, Precision } from '../addon.js'
import { SegSamError, unexpected } from '../errors.js'
import { openDataset } from '../eval/dataset.js'
import { htmlOf } from '../eval/html.js'
import type { Dataset, ListedImage, Split } from '../eval/labelled-image.js'
import { type LeftOut, measure } from '../eval/measure.js'
import { picturesOf } from '../eval/pictures.js'
import { checkPromptKinds } from '../eval/prompts.js'
import { RecordFile, type RecordHeader } from '../eval/records.js'
import { csvOf, type Report, type Row, reportOf } from '../eval/report.js'
import { SegSam } from '../model.js'
import { packageVersion } from '../package-root.js'
import { deviceOption, precisionOption, whole } from './options.js'
import { makeFolder, writeInto } from './out-folder.js'
import { bar, Progress } from './progress.js'
import { numbers } from './prompt-arguments.js'
import { table } from './table.js'

interface EvalOptions {
  prompts: string[]
  split: Split
  report: string
  seed: number
  limit?: number
  batch: number
  tolerance: number
  multimask?: true
  device: Device
  precision: Precision
  pictures: boolean
  json?: true
}

export function evalCommand(): Command {
  return new Command('eval')
    .description('Measure a bundle on labelled images. Goes on where it was stopped, with the same --report folder.')
    .argument('<bundle>', 'folder of the model')
    .argument('<datasets...>', 'folders with dataset.json, or in the layout of SAM-Med2D and SA-Med2D-20M')
    .requiredOption('-r, --report <folder>', 'write report.json, report.csv, report.html and records.jsonl here')
    .addOption(
      new Option('--prompts <kinds>', 'box, and 1pt to 20pt for points one after the other, as a,b,c')
        .argParser((text) => text.split(',').map((kind) => kind.trim()))
        .default(['box', '1pt', '3pt', '5pt'], 'box,1pt,3pt,5pt'),
    )
    .addOption(new Option('--split <part>', 'part of the subjects').choices(['train', 'test', 'all']).default('test'))
    .option('--seed <n>', 'of points and of the objects that --limit leaves', whole(0, 2 ** 31 - 1), 0)
    .option('--limit <n>', 'objects an image, at most, chosen at random (default: all)', whole(1))
    .option('--batch <n>', 'images encoded in one pass', whole(1), 4)
    .option('--tolerance <distance>', 'of the surface distance: mm where the spacing is known, else px', positive, 2)
    .option('--multimask', 'three masks for the first point, of which the best by predicted IoU counts')
    .addOption(deviceOption())
    .addOption(precisionOption())
    .option('--no-pictures', 'no pictures of the best, median and worst masks in report.html')
    .option('--json', 'write the content of report.json to stdout, and nothing else')
    .action(evaluate)
}

async function evaluate(bundle: string, folders: string[], options: EvalOptions): Promise<void> {
  const progress = new Progress()
  const prompts = checkPromptKinds(options.prompts)
  const { datasets, leftOut } = await openAll(folders, options.split)
  const { device, precision } = options
  using model = await progress.step('load', () => SegSam.load(bundle, { device, precision }))
  const run: RecordHeader = {
    schema: 1,
    bundle: bundleOf(model),
    sets: datasets.map(({ name, hash }) => ({ name, hash })),
    prompts,
    split: options.split,
    seed: options.seed,
    limit: options.limit ?? null,
    tolerance: options.tolerance,
    multimask: options.multimask === true,
  }
  await makeFolder(options.report, '--report')
  const file = await RecordFile.open(options.report, run)
  if (model.info.semantic === 'untrained') leftOut.push(UNTRAINED)
  const onProgress = countdown(progress)
  leftOut.push(
    ...(await progress.step('measure', () =>
      measure(model, datasets, file, { ...run, batch: options.batch, onProgress }),
    )),
  )
  const report = reportOf(packageVersion(), run, file.records, leftOut, new Set(model.classes.map(({ id }) => id)))
  checkMeasured(file, report)
  const pictures = options.pictures
    ? await progress.step('draw', () => picturesOf(model, datasets, report.cases, run))
    : new Map()
  const json = `${JSON.stringify(report, null, 2)}\n`
  await writeInto(options.report, 'report.json', json)
  await writeInto(options.report, 'report.csv', csvOf(report))
  await writeInto(options.report, 'report.html', htmlOf(report, pictures))
  process.stdout.write(options.json ? json : `${summary(report, options.report)}\n`)
}

const UNTRAINED: LeftOut = {
  what: 'names',
  why: 'The semantic part of the bundle is untrained: it names nothing and draws no semantic masks.',
}

/** A set that cannot be used is left out, and said so. */
async function openAll(folders: string[], split: Split): Promise<{ datasets: Dataset[]; leftOut: LeftOut[] }> {
  const datasets: Dataset[] = []
  const leftOut: LeftOut[] = []
  for (const folder of folders) {
    try {
      const dataset = await openDataset(folder, split)
      if (datasets.some(({ name }) => name === dataset.name)) {
        throw unexpected(
          'INVALID_ARGUMENT',
          'a data set',
          dataset.name,
          'each folder name once',
          'Rename one of the folders.',
        )
      }
      if (dataset.images.length > 0) datasets.push(dataset)
      else leftOut.push({ what: folder, why: `No image is in its part "${split}". Pass another --split.` })
    } catch (error) {
      if (!(error instanceof SegSamError && error.code === 'DATASET_INVALID')) throw error
      leftOut.push({ what: folder, why: error.message })
    }
  }
  if (datasets.length === 0) throw nothingUsable(leftOut)
  return { datasets, leftOut }
}

function nothingUsable(leftOut: readonly LeftOut[]): SegSamError {
  const reasons = leftOut.slice(0, 3).map(({ what, why }) => `${what}: ${why}`)
  const more = leftOut.length > 3 ? [`And ${leftOut.length - 3} more.`] : []
  return new SegSamError('DATASET_INVALID', ['Nothing can be measured.', ...reasons, ...more].join('\n'))
}

function checkMeasured({ records }: RecordFile, { leftOut }: Report) {
  if (records.some(({ objects }) => objects.length > 0)) return
  const none = { what: `${records.length} images`, why: 'They have no object of 30 pixels or more. Check the labels.' }
  throw nothingUsable(records.length > 0 ? [none, ...leftOut] : leftOut)
}

function bundleOf({ info: { name, version, hash, device, precision } }: SegSam): RecordHeader['bundle'] {
  return { name, version, hash, device, precision }
}

function countdown(progress: Progress) {
  let start: { at: number; done: number } | undefined
  return (done: number, total: number, { set }: ListedImage): void => {
    start ??= { at: performance.now(), done }
    const each = (performance.now() - start.at) / 1000 / (done - start.done)
    const left = Number.isFinite(each) ? `, about ${Math.ceil((each * (total - done)) / 60)} min left` : ''
    progress.show(`${bar(done / total)} ${done} of ${total} images, ${set}${left}`)
  }
}

function summary({ prompts, leftOut }: Report, folder: string): string {
  const head = ['prompt', 'set', ...COLUMNS.map(([, title]) => title)]
  const rows = Object.entries(prompts).flatMap(([kind, { overall, sets }]) =>
    Object.entries({ ...sets, overall }).map(([name, row]) => [
      kind,
      name,
      ...COLUMNS.map(([key]) => cell(key, row[key])),
    ]),
  )
  const lines = [table(head, rows, head.slice(2)), '', `Written to ${folder}: report.html, report.json, report.csv`]
  if (leftOut.length > 0) lines.push('', 'Left out:', ...leftOut.map(({ what, why }) => `  ${what}: ${why}`))
  return lines.join('\n')
}

const COLUMNS: [keyof Row, string][] = [
  ['objects', 'objects'],
  ['dice', 'Dice'],
  ['semanticDice', 'semantic Dice'],
  ['ellipseDice', 'ellipse Dice'],
  ['nsd', 'NSD'],
  ['hd95Mm', 'HD95 (mm)'],
  ['hd95Px', 'HD95 (px)'],
  ['classRight', 'class right'],
  ['classTop3', 'in top 3'],
  ['othersF1', 'others F1'],
]

function cell(key: keyof Row, value: number | null): string {
  if (value === null) return ''
  return key === 'objects' ? `${value}` : value.toFixed(3)
}

function positive(text: string): number {
  const value = numbers(text, 1, 'a number above 0')[0]!
  if (value <= 0) throw new InvalidArgumentError('Allowed: a number above 0.')
  return value
}

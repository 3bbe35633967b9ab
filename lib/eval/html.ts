import type { Reliability } from './calibration.js'
import { COLOURS } from './pictures.js'
import { dicePlot, escaped, reliabilityPlot, riskCoveragePlot } from './plots.js'
import type { Case, PromptReport, Report, Row } from './report.js'

/** One page that needs no other file: tables, plots, and pictures of cases where there are any. */
export function htmlOf(report: Report, pictures: ReadonlyMap<Case, string>): string {
  const { run, leftOut, prompts, cases } = report
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Evaluation of ${escaped(run.bundle.name)}</title>
<style>${STYLE}</style>
<h1>Evaluation of ${escaped(`${run.bundle.name} ${run.bundle.version}`)}</h1>
${aboutRun(report)}
${leftOut.length > 0 ? leftOutTable(report) : ''}
${Object.entries(prompts)
  .map(([kind, measured]) => promptSection(kind, measured))
  .join('\n')}
${cases.length > 0 ? caseSection(cases, pictures) : ''}
<p>seg-sam ${escaped(report.version)}. For research; nothing here is meant for clinical use.</p>
</html>
`
}

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 2rem auto; padding: 0 1rem; max-width: 76rem }
table { border-collapse: collapse; margin: 0.5rem 0 1rem; font-variant-numeric: tabular-nums; font-size: 13px }
th, td { padding: 0.15rem 0.5rem; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top }
th:first-child, td:first-child, .text td { text-align: left }
.wide { overflow-x: auto }
.plots, .cases { display: flex; flex-wrap: wrap; gap: 1.5rem }
figure { margin: 0; max-width: 22.5rem }
figcaption { font-size: 13px }
svg { font: 12px system-ui, sans-serif }`

function aboutRun({ run }: Report): string {
  const { bundle, sets, prompts, split, seed, limit, tolerance, multimask } = run
  const facts = [
    ['bundle', `${bundle.name} ${bundle.version}, SHA-256 ${bundle.hash}`],
    ['ran on', `${bundle.device}, ${bundle.precision}`],
    ['data sets', sets.map(({ name }) => name).join(', ')],
    ['part', split],
    [
      'prompts',
      `${prompts.join(', ')}; ${multimask ? 'three masks for the first point, the best by predicted IoU' : 'one mask a prompt'}`,
    ],
    ['objects', limit === null ? 'all' : `at most ${limit} an image`],
    [
      'tolerance of the normalised surface distance',
      `${tolerance} mm where the spacing is known, else ${tolerance} px`,
    ],
    ['seed', `${seed}`],
  ]
  const rows = facts.map(([name, value]) => `<tr><td>${escaped(name!)}<td>${escaped(value!)}`)
  return `<table class="text">${rows.join('')}</table>`
}

function leftOutTable({ leftOut }: Report): string {
  const rows = leftOut.map(({ what, why }) => `<tr><td>${escaped(what)}<td>${escaped(why)}`)
  return `<h2>Left out</h2><table class="text">${rows.join('')}</table>`
}

function promptSection(kind: string, measured: PromptReport): string {
  const { overall, sets, modalities, classes, calibration, riskCoverage } = measured
  const { classProbability, predictedIou, agreement } = calibration
  const area =
    riskCoverage.area === null
      ? ''
      : ` (area ${fixed(riskCoverage.area)}, at best ${fixed(riskCoverage.best)}, by chance ${fixed(riskCoverage.chance)})`
  return `<h2>${kind === 'box' ? 'Box' : `${Number.parseInt(kind, 10)} ${kind === '1pt' ? 'point' : 'points'}`}</h2>
${table('', { overall })}
${table('set', sets)}
${table('modality', modalities)}
${table('class', classes)}
<h3>Dice by class</h3>
<p>Bar: binary mask. Orange mark: the ellipse in the box, drawn without looking at the image.</p>
${dicePlot(classes, `Dice by class, ${kind}`)}
<h3>Calibration</h3>
<div class="plots">
${reliabilityFigure(classProbability, 'Probability of the class', ['probability', 'share right'])}
${reliabilityFigure(predictedIou, 'Predicted IoU', ['predicted IoU', 'true IoU'])}
${reliabilityFigure(agreement, 'Agreement of the two masks', ['agreement', 'true Dice'])}
<figure>${riskCoveragePlot(riskCoverage, `Risk and coverage, ${kind}`)}
<figcaption>Does agreement find bad masks? Risk of the masks trusted most${area}.</figcaption></figure>
</div>`
}

function reliabilityFigure(measured: Reliability, title: string, axes: [string, string]): string {
  const error = measured.error === null ? 'not measured' : `expected calibration error ${fixed(measured.error)}`
  return `<figure>${reliabilityPlot(measured, title, axes)}<figcaption>${title}: ${error}, ${measured.count} answers</figcaption></figure>`
}

const COLUMNS: [keyof Row, string][] = [
  ['objects', 'objects'],
  ['images', 'images'],
  ['subjects', 'subjects'],
  ['dice', 'Dice'],
  ['semanticDice', 'semantic Dice'],
  ['ellipseDice', "Dice of the box's ellipse"],
  ['iou', 'IoU'],
  ['semanticIou', 'semantic IoU'],
  ['nsd', 'NSD'],
  ['semanticNsd', 'semantic NSD'],
  ['hd95Mm', 'HD95 (mm)'],
  ['semanticHd95Mm', 'semantic HD95 (mm)'],
  ['hd95Px', 'HD95 (px)'],
  ['semanticHd95Px', 'semantic HD95 (px)'],
  ['classRight', 'class right'],
  ['classTop3', 'class in top 3'],
  ['othersPrecision', 'unprompted: precision'],
  ['othersRecall', 'recall'],
  ['othersF1', 'F1'],
]

/** Columns without any value are left out. */
function table(title: string, rows: Record<string, Row>): string {
  const columns = COLUMNS.filter(([key]) => Object.values(rows).some((row) => row[key] !== null))
  const head = columns.map(([, name]) => `<th>${escaped(name)}`)
  const body = Object.entries(rows).map(
    ([name, row]) => `<tr><td>${escaped(name)}${columns.map(([key]) => `<td>${cell(key, row[key])}`).join('')}`,
  )
  return `<div class="wide"><table><tr><th>${title}${head.join('')}${body.join('')}</table></div>`
}

function cell(key: keyof Row, value: number | null): string {
  if (value === null) return '–'
  if (key === 'objects' || key === 'images' || key === 'subjects') return `${value}`
  return key.startsWith('hd95') || key.startsWith('semanticHd95') ? value.toFixed(2) : value.toFixed(3)
}

function fixed(value: number | null): string {
  return value === null ? '–' : value.toFixed(3)
}

function caseSection(cases: readonly Case[], pictures: ReadonlyMap<Case, string>): string {
  const figures = cases.map((one) => {
    const picture = pictures.get(one)
    const dice = [
      `Dice ${fixed(one.dice)}`,
      ...(one.semanticDice === null ? [] : [`semantic ${fixed(one.semanticDice)}`]),
    ]
    const text = `${one.which} of ${one.set}: ${one.class} in ${one.image}, object ${one.number}, ${one.prompt}. ${dice.join(', ')}`
    const img = picture ? `<img src="${picture}" alt="${escaped(text)}">` : ''
    return `<figure>${img}<figcaption>${escaped(text)}</figcaption></figure>`
  })
  const legend = Object.entries({
    truth: 'truth',
    mask: 'mask',
    ...(cases.some(({ semanticDice }) => semanticDice !== null) && { semanticMask: 'semantic mask (dashed)' }),
    prompt: 'prompt',
  })
    .map(
      ([key, name]) =>
        `<span style="border-left: 1em solid ${COLOURS[key as keyof typeof COLOURS]}; padding: 0 1em 0 0.4em">${name}</span>`,
    )
    .join('')
  return `<h2>Best, median and worst masks</h2>
${pictures.size > 0 ? `<p>${legend}</p>` : ''}
<div class="cases">${figures.join('\n')}</div>`
}

/**
 * How well objects are followed through labelled volumes, from a box or 3 points on the middle slice of each:
 *
 *   node examples/volume-report.mjs BUNDLE VOLUME LABELS [--names names.json] [--window soft-tissue]
 *   node examples/volume-report.mjs BUNDLE --cases cases.json --out FOLDER --doc docs/volumes.md
 *
 * LABELS has one value an object, on the grid of VOLUME; names.json gives names by value. cases.json is a list of { title,
 * volume, labels, names, window }, or of { title, dataset, series }: slices of a series in a data set (docs/evaluation.md).
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { readImage, readVolume, SegSam, SegSamError, Volume, VoxelMask } from 'seg-sam'
import { csvOfRows } from '../dist/csv.js'
import { promptObjects, randomFor } from '../dist/eval/prompts.js'
import { windowForVolume } from '../dist/volume/volume-window.js'

/** Objects with fewer pixels on their middle slice are left out, as in `seg-sam eval`. */
const MIN_PIXELS = 30
const KINDS = ['box', '3pt']

const options = { type: 'string' }
const { values, positionals } = parseArgs({
  options: {
    cases: options,
    names: options,
    window: options,
    axis: options,
    seed: options,
    out: options,
    doc: options,
  },
  allowPositionals: true,
})
const [bundle, volumeFile, labelFile] = positionals
if (!bundle || (!values.cases && !labelFile)) {
  console.error(
    'Usage: node examples/volume-report.mjs BUNDLE (VOLUME LABELS | --cases FILE) [--names FILE] [--window NAME]',
  )
  console.error('         [--axis z] [--seed 0] [--out FOLDER] [--doc FILE]')
  process.exit(2)
}
const { axis = 'z' } = values
const seed = Number(values.seed ?? 0)

const model = await SegSam.load(bundle)
const { name, version, hash, device, precision } = model.info
const results = []
for (const each of await listedCases()) {
  const measured = await measured3D(await opened(each))
  results.push({ title: each.title, ...measured })
  printCase(results.at(-1))
  // After each, so that nothing is lost if it is interrupted.
  await writeResults()
}
model.dispose()

async function writeResults() {
  if (values.out) {
    await mkdir(values.out, { recursive: true })
    const report = { model: { name, version, hash, device, precision }, axis, seed, cases: results }
    await writeFile(join(values.out, 'volumes.json'), `${JSON.stringify(report, null, 2)}\n`)
    await writeFile(join(values.out, 'volumes.csv'), csv(results))
  }
  if (values.doc) await writeTable(values.doc, results)
}

async function listedCases() {
  if (!values.cases) return [{ title: basename(volumeFile), volume: volumeFile, labels: labelFile, ...values }]
  const folder = dirname(resolve(values.cases))
  const paths = ['volume', 'labels', 'names', 'dataset']
  return JSON.parse(await readFile(values.cases, 'utf8')).map((each) =>
    Object.fromEntries(
      Object.entries(each).map(([key, value]) => [key, paths.includes(key) ? resolve(folder, value) : value]),
    ),
  )
}

/** The volume, its labels as one value a voxel, and the names of values. */
async function opened({ volume, labels, names, window, dataset, series }) {
  if (dataset) return { ...(await stackedSlices(dataset, series)), window: undefined }
  const [read, truth] = await Promise.all([readVolume(volume), readVolume(labels)])
  const isSame = (a, b) => a.every((value, i) => Math.abs(value - b[i]) < 1e-3)
  if (!isSame(read.shape, truth.shape) || !isSame(read.affine, truth.affine)) {
    throw new SegSamError('INVALID_ARGUMENT', `${labels} is not on the grid of ${volume}. Resample the labels to it.`)
  }
  const named = names ? JSON.parse(await readFile(names, 'utf8')) : {}
  return { volume: read, truth: truth.data, names: named, window }
}

/** The slices that a data set has of a series, in their order, on top of each other. */
async function stackedSlices(dataset, series) {
  const { classes } = JSON.parse(await readFile(join(dataset, 'dataset.json'), 'utf8'))
  const files = (await readdir(join(dataset, 'images'))).filter((file) => file.replace(/_[^_]*$/, '') === series).sort()
  if (files.length === 0) throw new SegSamError('INVALID_ARGUMENT', `${dataset} has no series ${series}.`)
  const read = (folder) => Promise.all(files.map((file) => readImage(join(dataset, folder, file))))
  const [images, maps] = await Promise.all([read('images'), read('labels')])
  const [{ width, height, channels }] = images
  const stacked = (slices, Values) => {
    const size = slices[0].data.length
    const data = new Values(size * slices.length)
    for (const [i, slice] of slices.entries()) data.set(slice.data, i * size)
    return data
  }
  const volume = new Volume({
    data: stacked(images, Uint8Array),
    shape: [width, height, files.length],
    channels,
    // Rows to the patient's left, columns to the back; distances are not needed here.
    affine: [-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
    ...{ unit: null, modality: null, window: null, inverted: false, warnings: [], dicom: null },
  })
  const names = Object.fromEntries(classes.map(({ value, id }) => [value, id]))
  return { volume, truth: stacked(maps, Uint16Array), names }
}

async function measured3D({ volume, truth, names, window: asked }) {
  const window = windowForVolume(volume, asked)
  const cut = (index) => volume.slice(axis, index, { ...(window !== undefined && { window }) })
  const { objects, leftOut } = targetsOf(volume, truth, names, cut)
  const prompts = Object.fromEntries(KINDS.map((kind) => [kind, []]))
  for (const { middle, mask, name } of objects) {
    const scene = await model.encode(cut(middle))
    const target = { truth: mask, random: randomFor(seed, name, middle) }
    const answers = await promptObjects(scene, [target], KINDS, { multimask: true })
    for (const [kind, [{ prompt }]] of answers) {
      const { box, points } = prompt
      prompts[kind].push({ slice: middle, ...(box && { box }), ...(points && { points }) })
    }
    scene.dispose()
  }
  const kinds = {}
  for (const kind of KINDS) {
    const start = performance.now()
    const { segments } = await model.segmentVolume(volume, prompts[kind], {
      axis,
      ...(window !== undefined && { window }),
    })
    const seconds = (performance.now() - start) / 1000
    kinds[kind] = { seconds, objects: segments.map((segment, i) => compared(segment, objects[i], truth)) }
  }
  return { shape: volume.shape, slices: volume.sliceCount(axis), leftOut, kinds }
}

/** Every label that is large enough where it is prompted: on the middle one of the slices that it is on. */
function targetsOf(volume, truth, names, cut) {
  const objects = []
  const leftOut = []
  const planes = Array.from({ length: volume.sliceCount(axis) }, (_, index) => cut(index).plane)
  for (const value of [...new Set(truth)].filter((each) => each > 0).sort((a, b) => a - b)) {
    const whole = VoxelMask.of(volume.shape, truth, value)
    const slices = [...planes.keys()].filter((index) => whole.slice(planes[index]).area > 0)
    const middle = slices[Math.floor(slices.length / 2)]
    const mask = whole.slice(planes[middle])
    const name = names[value] ?? `${value}`
    if (mask.area < MIN_PIXELS) leftOut.push(name)
    else objects.push({ value, name, middle, mask, count: whole.count, slices: new Set(slices) })
  }
  return { objects, leftOut }
}

function compared({ mask, slices, class: named }, { value, name, middle, count, slices: true_ }, truth) {
  let shared = 0
  mask.forEach((_i, _j, _k, at) => {
    if (truth[at] === value) shared++
  })
  const found = new Set(slices.map(({ slice }) => slice))
  return {
    ...{ name, value, slice: middle, named: named?.id ?? null },
    dice: (2 * shared) / (mask.count + count),
    trueSlices: true_.size,
    entered: [...found].filter((slice) => !true_.has(slice)).length,
    missed: [...true_].filter((slice) => !found.has(slice)).length,
  }
}

function printCase({ title, slices, leftOut, kinds }) {
  console.log(`\n${title}, ${slices} slices${leftOut.length > 0 ? `; too small: ${leftOut.join(', ')}` : ''}`)
  for (const [kind, { seconds, objects }] of Object.entries(kinds)) {
    console.log(`${kind}, ${seconds.toFixed(1)} s`)
    console.table(
      objects.map(({ name, dice, trueSlices, entered, missed }) => ({
        name,
        dice: dice.toFixed(3),
        trueSlices,
        entered,
        missed,
      })),
    )
  }
}

function csv(cases) {
  const columns = ['name', 'value', 'slice', 'named', 'dice', 'trueSlices', 'entered', 'missed']
  const rows = cases.flatMap(({ title, kinds }) =>
    Object.entries(kinds).flatMap(([kind, { objects }]) =>
      objects.map((object) => [title, kind, ...columns.map((column) => object[column])]),
    ),
  )
  return csvOfRows([['case', 'prompt', ...columns], ...rows])
}

/** One row a case and kind of prompt, between the marks in the file. */
async function writeTable(path, cases) {
  const rows = cases.flatMap(({ title, slices, kinds }) =>
    Object.entries(kinds).map(([kind, { seconds, objects }]) => {
      const sum = (field) => objects.reduce((total, object) => total + object[field], 0)
      const dice = objects.map((object) => object.dice).sort((a, b) => a - b)
      const median = (dice[Math.floor((dice.length - 1) / 2)] + dice[Math.ceil((dice.length - 1) / 2)]) / 2
      const mean = sum('dice') / objects.length
      return `| ${title} | ${slices} | ${kind} | ${objects.length} | ${mean.toFixed(3)} | ${median.toFixed(3)} | ${sum('entered')} | ${sum('missed')} of ${sum('trueSlices')} | ${seconds.toFixed(0)} |`
    }),
  )
  const head = '| volume | slices | prompt | objects | mean Dice | median | slices wrongly entered | missed | seconds |'
  const text = await readFile(path, 'utf8')
  const region = /<!-- volumes -->.*<!-- \/volumes -->/s
  if (!region.test(text))
    throw new SegSamError('INVALID_ARGUMENT', `${path} has no <!-- volumes --> ... <!-- /volumes -->.`)
  const table = [head, `|${' --- |'.repeat(9)}`, ...rows].join('\n')
  const line = `${name} ${version}, ${device}, ${precision}:`
  await writeFile(
    path,
    text.replace(region, () => `<!-- volumes -->\n${line}\n\n${table}\n<!-- /volumes -->`),
  )
}

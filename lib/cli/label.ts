import { Command } from 'commander'
import type { Device, Precision } from '../addon.js'
import { defaultWindowOf } from '../image.js'
import { objectsOfLabelMap } from '../image-segmentation.js'
import type { LabelledClass, LabelMap } from '../label-map.js'
import { SegSam } from '../model.js'
import { drawOverlay, type OverlayObject } from '../overlay.js'
import {
  checkFormats,
  type FormatFiles,
  type FormatOptions,
  withFormatOptions,
  writeFormats,
  writtenFiles,
} from './formats.js'
import { IMAGE_HELP, type InputOptions, readInput, withInputOptions } from './input.js'
import { colourOf, describeLabels, type Labelling, type LabelResult } from './label-result.js'
import { bundleOption, checkClasses, deviceOption, list, precisionOption, whole } from './options.js'
import { makeFolder, writeInto } from './out-folder.js'
import { Progress } from './progress.js'
import { subject, timings } from './summary.js'
import { percent, table, twoDigits } from './table.js'

interface LabelOptions extends InputOptions, FormatOptions {
  model: string
  device: Device
  precision: Precision
  points: number
  cropLayers: number
  classes?: string[]
  minArea?: number
  largest?: true
  fillHoles?: true
  json?: true
}

export function labelCommand(): Command {
  const command = new Command('label')
    .description('Divide the whole image among the classes of the model, without a prompt.')
    .argument('<image>', IMAGE_HELP)
    .addOption(bundleOption())
    .addOption(deviceOption())
    .addOption(precisionOption())
    .option('--points <n>', 'points along each side of the grid of prompts, 1 to 128', whole(1, 128), 32)
    .option('--crop-layers <n>', 'layers of crops that are segmented in addition to the whole, 0 to 4', whole(0, 4), 0)
    .option('--classes <ids>', 'the classes that may be named, as a,b,c; all of the model by default', list)
    .option('--min-area <pixels>', 'drop smaller regions of a class', whole(1))
    .option('--largest', 'keep only the largest region of each class, or of each object of a countable class')
    .option('--fill-holes', 'fill holes, but where another class lies in them')
    .option('-o, --out <folder>', 'write labels.png, overlay.png and result.json into this folder')
    .option('--json', 'write the result to stdout as JSON, and nothing else')
    .action(label)
  return withFormatOptions(withInputOptions(command), ['binary', 'labelmap'])
}

async function label(path: string, options: LabelOptions): Promise<void> {
  const progress = new Progress()
  const { classes, device, precision, out } = options
  const input = await progress.step('read', () => readInput(path, options))
  checkFormats(options, input, path)
  const { image } = input
  using model = await progress.step('load', () => SegSam.load(options.model, { device, precision }))
  checkClasses(classes, model)
  if (out !== undefined) await makeFolder(out, '--out')
  const window = input.window ?? (input.slice?.window ? undefined : defaultWindowOf(model.info, image))
  const windowed = window && { window }
  const rules = { pointsPerSide: options.points, regions: { '*': rulesOf(options) }, ...(classes && { classes }) }
  let map: LabelMap
  if (options.cropLayers === 0) {
    using scene = await progress.step('encode', () => model.encode(image, { ...windowed }))
    map = await progress.step('label', () => scene.labelMap(rules))
  } else {
    const cropNLayers = options.cropLayers
    map = await progress.step('label', () => model.labelMap(image, { ...rules, ...windowed, cropNLayers }))
  }

  const labelling = { path, image, slice: input.slice, model: model.info, map }
  let files: LabelResult['files'] = { labels: null, instances: null, overlay: null }
  let formats: FormatFiles = {}
  if (out !== undefined) {
    await progress.step('write', async () => {
      files = await writePictures(out, labelling, window)
      const found = { path, input, objects: objectsOfLabelMap(map), model: model.info, classes: model.classes }
      formats = await writeFormats(out, options, { ...found, algorithmType: 'AUTOMATIC' })
    })
  }
  const result: LabelResult = { ...describeLabels(labelling), files, formats, seconds: progress.seconds }
  const json = `${JSON.stringify(result, null, 2)}\n`
  if (out !== undefined) await writeInto(out, 'result.json', json)
  process.stdout.write(options.json ? json : `${report(result, out)}\n`)
}

function rulesOf({ minArea, largest, fillHoles }: LabelOptions) {
  return {
    ...(minArea !== undefined && { minArea }),
    ...(largest && { largestComponent: true }),
    ...(fillHoles && { fillHoles: true }),
  }
}

async function writePictures(
  folder: string,
  { image, map }: Labelling,
  window: [number, number] | undefined,
): Promise<LabelResult['files']> {
  const counts = map.classes.some(({ countable }) => countable)
  await writeInto(folder, 'labels.png', await map.toPNG())
  if (counts) await writeInto(folder, 'instances.png', await map.toInstancePNG())
  // The highest value is that of `unknown`: its outlines lie below those of the classes.
  const drawn = map.classes.toReversed().map((found) => drawing(map, found))
  await writeInto(folder, 'overlay.png', await drawOverlay(image, drawn, { window }))
  return { labels: 'labels.png', instances: counts ? 'instances.png' : null, overlay: 'overlay.png' }
}

/** The outlines of a class, or of each of its objects where they count, under one name. */
function drawing(map: LabelMap, found: LabelledClass): OverlayObject {
  const { id, name, confidence } = found
  const whole = map.mask(found.value)
  const parts = found.countable
    ? map.instances.filter(({ value }) => value === found.value).map((each) => map.instanceMask(each.number))
    : [whole]
  return {
    mask: { bbox: whole.bbox, toPolygons: () => parts.flatMap((part) => part.toPolygons()) },
    label: confidence === null ? null : { id, name, probability: confidence },
    colour: colourOf(found),
  }
}

function report(result: LabelResult, folder: string | undefined): string {
  const { image, model, classes, instances, seconds } = result
  const rows = classes.map(({ value, name, countable, pixels, area, confidence }) => [
    `${value}`,
    confidence === null ? UNCLAIMED[result.labelReason === 'untrained' ? 'untrained' : 'unknown'] : name,
    countable ? `${instances.filter((instance) => instance.value === value).length}` : '',
    `${pixels}`,
    percent(area),
    confidence === null ? '' : twoDigits(confidence),
  ])
  const head = ['value', 'class', 'objects', 'pixels', 'area', 'confidence']
  const lines = [
    subject(image, model),
    '',
    rows.length > 0 ? table(head, rows, ['value', ...head.slice(2)]) : 'Nothing was found.',
  ]
  if (folder !== undefined) {
    const written = Object.values(result.files).filter((file) => file !== null)
    lines.push('', `Written to ${folder}: ${[...written, 'result.json', ...writtenFiles(result.formats)].join(', ')}`)
  }
  lines.push('', timings(seconds))
  return lines.join('\n')
}

const UNCLAIMED = { unknown: 'Unknown (no known class)', untrained: 'Unknown (model names no classes)' }

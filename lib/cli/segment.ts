import { Command } from 'commander'
import type { Device, Precision } from '../addon.js'
import { defaultWindowOf } from '../image.js'
import { objectsOfHits } from '../image-segmentation.js'
import type { Mask } from '../mask.js'
import { SegSam } from '../model.js'
import { drawOverlay } from '../overlay.js'
import type { Prompt } from '../prompts.js'
import type { Hit } from '../scene.js'
import {
  checkFormats,
  type FormatFiles,
  type FormatOptions,
  withFormatOptions,
  writeFormats,
  writtenFiles,
} from './formats.js'
import { IMAGE_HELP, type InputOptions, readInput, withInputOptions } from './input.js'
import { bundleOption, checkClasses, deviceOption, list, number, precisionOption } from './options.js'
import { makeFolder, writeInto } from './out-folder.js'
import { Progress } from './progress.js'
import { checkPrompts, PROMPT_HELP, PromptArguments } from './prompt-arguments.js'
import { describe, type Findings, type ObjectResult, type SegmentResult } from './result.js'
import { subject, timings } from './summary.js'
import { percent, table, twoDigits } from './table.js'

interface SegmentOptions extends InputOptions, FormatOptions {
  model: string
  device: Device
  precision: Precision
  multimask?: true
  classes?: string[]
  threshold?: number
  json?: true
}

export function segmentCommand(): Command {
  const collected = new PromptArguments()
  const command = new Command('segment')
    .description('Segment and name the object that each prompt means.')
    .argument('<image>', IMAGE_HELP)
    .option('-b, --box <x0,y0,x1,y1>', 'box around an object; may be repeated', collected.box)
    .option(
      '-p, --point <x,y[,0|1]>',
      'click on an object (1, default) or beside it (0); may be repeated',
      collected.point,
    )
    .option('-n, --next', 'the next --point begins another object')
    .on('option:next', collected.next)
    .addOption(bundleOption())
    .addOption(deviceOption())
    .addOption(precisionOption())
    .option('--multimask', 'three proposals for each prompt (whole, part, subpart); the best of them is the mask')
    .option('--classes <ids>', 'the classes that may be named, as a,b,c; all of the model by default', list)
    .option('--threshold <logit>', 'logits above it are foreground (default: 0)', number)
    .option('-o, --out <folder>', 'write masks and overlay as PNG, and result.json, into this folder')
    .option('--json', 'write the result to stdout as JSON, and nothing else')
    .addHelpText('after', PROMPT_HELP)
    .action((path: string, options: SegmentOptions, command: Command) => {
      if (collected.prompts.length === 0)
        command.error('error: no prompt given, at least one --box or --point is needed')
      return segment(path, collected.prompts, options)
    })
  return withFormatOptions(withInputOptions(command), ['binary', 'fractional'])
}

async function segment(path: string, prompts: Prompt[], options: SegmentOptions): Promise<void> {
  const progress = new Progress()
  const { classes, threshold, device, precision } = options
  const input = await progress.step('read', () => readInput(path, options))
  checkFormats(options, input, path)
  const { image } = input
  checkPrompts(prompts, image)
  using model = await progress.step('load', () => SegSam.load(options.model, { device, precision }))
  checkClasses(classes, model)
  if (options.out !== undefined) await makeFolder(options.out, '--out')
  const window = input.window ?? (input.slice?.window ? undefined : defaultWindowOf(model.info, image))
  using scene = await progress.step('encode', () => model.encode(image, { ...(window && { window }) }))
  const hits = await progress.step('segment', () =>
    scene.segment(prompts, {
      multimask: options.multimask === true,
      ...(classes && { classes }),
      ...(threshold !== undefined && { threshold }),
    }),
  )

  const findings = { path, image, slice: input.slice, model: model.info, prompts, hits }
  let written = new Map<Mask, string>()
  let formats: FormatFiles = {}
  if (options.out !== undefined) {
    const folder = options.out
    await progress.step('write', async () => {
      written = await writePictures(folder, findings, window)
      const logits = new Map(hits.map((hit) => [hit.mask, hit.logits]))
      formats = await writeFormats(folder, options, {
        path,
        input,
        objects: objectsOfHits(hits),
        probabilities: (mask) => scene.probabilities(logits.get(mask)!),
        model: model.info,
        classes: model.classes,
        algorithmType: 'SEMIAUTOMATIC',
      })
    })
  }
  const result = describe({ ...findings, seconds: progress.seconds }, written, formats)
  const json = `${JSON.stringify(result, null, 2)}\n`
  if (options.out !== undefined) await writeInto(options.out, 'result.json', json)
  process.stdout.write(options.json ? json : `${report(result, options.out)}\n`)
}

/** `overlay.png`, and for the n-th object `mask-n.png`, `semantic-mask-n.png` if trained and, for the lesser proposals, `mask-n-proposal-m.png`. */
async function writePictures(
  folder: string,
  { image, prompts, hits }: Pick<Findings, 'image' | 'prompts' | 'hits'>,
  window: [number, number] | undefined,
): Promise<Map<Mask, string>> {
  const written = new Map<Mask, string>()
  const write = async (mask: Mask, name: string) => {
    await writeInto(folder, name, await mask.toPNG())
    written.set(mask, name)
  }
  for (const [i, hit] of hits.entries()) {
    await write(hit.mask, `mask-${i + 1}.png`)
    for (const [m, { mask }] of hit.masks.entries()) {
      if (mask !== hit.mask) await write(mask, `mask-${i + 1}-proposal-${m + 1}.png`)
    }
    if (hit.semanticMask) await write(hit.semanticMask, `semantic-mask-${i + 1}.png`)
  }
  await writeInto(folder, 'overlay.png', await drawOverlay(image, hits, { prompts, window }))
  return written
}

function report(result: SegmentResult, folder: string | undefined): string {
  const { image, model, objects, seconds } = result
  const rows = objects.map((object, i) => [
    `${i + 1}`,
    promptText(object.prompt),
    object.label?.name ?? UNNAMED[object.labelReason ?? 'nothing'],
    object.label ? percent(object.label.probability) : '',
    twoDigits(object.predictedIou),
    object.agreement === null ? '' : twoDigits(object.agreement),
    `${object.mask.area}`,
  ])
  const head = ['#', 'prompt', 'class', 'probability', 'predicted IoU', 'agreement', 'area (pixels)']
  const others = otherClasses(objects)
  const lines = [subject(image, model), '', table(head, rows, head.slice(3))]
  if (others) lines.push('', `Also in the image: ${others}`)
  if (folder !== undefined) {
    const written = ['overlay.png', 'result.json', ...writtenFiles(result.formats)].join(', ')
    lines.push('', `Written to ${folder}: ${written} and the masks`)
  }
  lines.push('', timings(seconds))
  return lines.join('\n')
}

/** In place of a name. */
export const UNNAMED = { nothing: '(no known class)', untrained: '(model names no classes)' }

export function promptText({ box, points = [] }: Prompt): string {
  const clicks = points.map(({ x, y, label }) => `${label === 0 ? 'not ' : ''}${x},${y}`)
  return [...(box ? [`box ${box.join(',')}`] : []), ...(clicks.length ? [`point ${clicks.join(' ')}`] : [])].join(' ')
}

/** Of all prompts together, without what they name themselves. */
function otherClasses(objects: ObjectResult[]): string {
  const named = new Set(objects.map(({ label }) => label?.id))
  const strongest = new Map<string, Hit['others'][number]>()
  for (const other of objects.flatMap(({ others }) => others)) {
    if (named.has(other.id)) continue
    if (other.probability > (strongest.get(other.id)?.probability ?? 0)) strongest.set(other.id, other)
  }
  return [...strongest.values()]
    .sort((a, b) => b.probability - a.probability)
    .map(({ name, probability }) => `${name} ${percent(probability)}`)
    .join(', ')
}

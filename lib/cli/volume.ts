import { Command } from 'commander'
import type { Device, Precision } from '../addon.js'
import { unexpected } from '../errors.js'
import { SegSam } from '../model.js'
import type { Prompt } from '../prompts.js'
import type { VolumeSegmentation } from '../volume/segmentation.js'
import {
  checkFormats,
  FORMATS_OF_VOLUMES,
  type FormatContent,
  type FormatOptions,
  withFormatOptions,
  writeVolumeFormats,
  writtenFiles,
} from './formats.js'
import { type InputOptions, readVolumeInput, VOLUME_HELP, withVolumeOptions } from './input.js'
import { bundleOption, checkClasses, deviceOption, list, number, precisionOption, whole } from './options.js'
import { makeFolder, writeInto } from './out-folder.js'
import { bar, Progress } from './progress.js'
import { checkPrompts, PROMPT_HELP, PromptArguments } from './prompt-arguments.js'
import { promptText, UNNAMED } from './segment.js'
import { timings } from './summary.js'
import { percent, table, twoDigits } from './table.js'
import {
  describeClasses,
  describeObjects,
  type VolumeLabelsResult,
  type VolumeObjectResult,
  type VolumeObjectsResult,
  type VolumeResultTail,
} from './volume-result.js'

interface VolumeOptions extends Omit<InputOptions, 'page'>, FormatOptions {
  model: string
  device: Device
  precision: Precision
  label?: true
  points?: number
  threshold?: number
  classes?: string[]
  json?: true
}

export function volumeCommand(): Command {
  const collected = new PromptArguments()
  const command = new Command('volume')
    .description('Follow objects through a volume from prompts on one slice, or label the whole volume with --label.')
    .argument('<volume>', VOLUME_HELP)
    .option('-b, --box <x0,y0,x1,y1>', 'box around an object on --slice; may be repeated', collected.box)
    .option(
      '-p, --point <x,y[,0|1]>',
      'click on an object (1, default) or beside it (0) on --slice; may be repeated',
      collected.point,
    )
    .option('-n, --next', 'the next --point begins another object')
    .on('option:next', collected.next)
    .option('--label', 'divide the whole volume among the classes of the model, without a prompt')
    .option(
      '--points <n>',
      'with --label: points along each side of the grid on each slice, 1 to 128 (default: 32)',
      whole(1, 128),
    )
    .addOption(bundleOption())
    .addOption(deviceOption())
    .addOption(precisionOption())
    .option('--classes <ids>', 'the classes that may be named, as a,b,c; all of the model by default', list)
    .option('--threshold <logit>', 'logits above it are foreground (default: 0)', number)
    .option('-o, --out <folder>', 'write result.json and the files of --format into this folder')
    .option('--json', 'write the result to stdout as JSON, and nothing else')
    .addHelpText('after', PROMPT_HELP)
    .action((path: string, options: VolumeOptions, command: Command) => {
      checkTask(collected.prompts, options, command)
      return options.label ? labelVolume(path, options) : segmentVolume(path, collected.prompts, options)
    })
  return withFormatOptions(withVolumeOptions(command), ['binary', 'fractional', 'labelmap'], FORMATS_OF_VOLUMES)
}

function checkTask(prompts: readonly Prompt[], options: VolumeOptions, command: Command) {
  const { label, slice, points, threshold, segType } = options
  if (label) {
    if (segType === 'fractional') {
      command.error('error: --label divides voxels among classes: --seg-type may be binary or labelmap')
    }
    if (prompts.length > 0) command.error('error: --label takes no prompt: leave out --label, or --box and --point')
    if (slice !== undefined) command.error('error: --label labels every slice: leave out --slice')
    if (threshold !== undefined) command.error('error: --threshold is for prompts: leave it out with --label')
    return
  }
  if (prompts.length === 0) command.error('error: no prompt given: add --box or --point on --slice, or --label')
  if (segType === 'labelmap') {
    command.error('error: objects of prompts may overlap: --seg-type may be binary or fractional')
  }
  if (points !== undefined) command.error('error: --points is for --label; a prompt is given with --point')
}

async function segmentVolume(path: string, prompts: readonly Prompt[], options: VolumeOptions): Promise<void> {
  const { window, classes, threshold } = options
  const progress = new Progress()
  const { volume, axis, total } = await opened(path, options, progress)
  const slice = sliceFor(path, options, total)
  checkPrompts(prompts, volume.slice(axis, slice))
  using model = await loaded(options, progress)
  checkClasses(classes, model)
  if (options.out !== undefined) await makeFolder(options.out, '--out')
  const seen = new Set<number>()
  const found = await progress.step('segment', () =>
    model.segmentVolume(
      volume,
      prompts.map((prompt) => ({ slice, ...prompt })),
      {
        axis,
        ...(window && { window }),
        ...(classes && { classes }),
        ...(threshold !== undefined && { threshold }),
        onProgress: ({ slice, following }) => {
          const share = seen.add(slice).size / total
          progress.show(`${bar(share)} slice ${slice} of 0 to ${total - 1}, ${following} of ${prompts.length} objects`)
        },
      },
    ),
  )
  const segmentation = options.segType === 'fractional' ? found.withFractions() : found
  const written = await write(options, segmentation, 'SEMIAUTOMATIC', progress)
  const result: VolumeObjectsResult = { ...describeObjects(path, found), ...written }
  await tell(result, options, objectsReport)
}

async function labelVolume(path: string, options: VolumeOptions): Promise<void> {
  const { window, classes, points } = options
  const progress = new Progress()
  const { volume, axis } = await opened(path, options, progress)
  using model = await loaded(options, progress)
  checkClasses(classes, model)
  if (options.out !== undefined) await makeFolder(options.out, '--out')
  const found = await progress.step('label', () =>
    model.labelVolume(volume, {
      axis,
      ...(window && { window }),
      ...(classes && { classes }),
      ...(points !== undefined && { pointsPerSide: points }),
      onProgress: ({ done, total }) => progress.show(`${bar(done / total)} ${done} of ${total} slices`),
    }),
  )
  const written = await write(options, found.toSegmentation(), 'AUTOMATIC', progress)
  const result: VolumeLabelsResult = { ...describeClasses(path, found), ...written }
  await tell(result, options, classesReport)
}

/** The volume, and how many slices it has along the axis. What can be refused is refused before the model is loaded. */
async function opened(path: string, options: VolumeOptions, progress: Progress) {
  const volume = await progress.step('read', () => readVolumeInput(path, options))
  const { axis } = options
  const total = volume.sliceCount(axis)
  checkFormats(options, { volume }, path)
  return { volume, axis, total }
}

function loaded({ model, device, precision }: VolumeOptions, progress: Progress): Promise<SegSam> {
  return progress.step('load', () => SegSam.load(model, { device, precision }))
}

function sliceFor(path: string, { slice, axis }: VolumeOptions, total: number): number {
  if (slice !== undefined && slice < total) return slice
  const allowed = `0 to ${total - 1} along ${axis}`
  throw unexpected('INVALID_ARGUMENT', `--slice for ${path}`, slice, allowed, 'All prompts are on that slice.')
}

async function write(
  options: VolumeOptions,
  segmentation: VolumeSegmentation,
  algorithmType: FormatContent['algorithmType'],
  progress: Progress,
): Promise<VolumeResultTail> {
  const { out } = options
  if (out === undefined) return { formats: {}, seconds: progress.seconds }
  const formats = await progress.step('write', () => writeVolumeFormats(out, options, segmentation, algorithmType))
  return { formats, seconds: progress.seconds }
}

async function tell<Result extends VolumeObjectsResult | VolumeLabelsResult>(
  result: Result,
  { out, json }: VolumeOptions,
  report: (result: Result) => string[],
): Promise<void> {
  const text = `${JSON.stringify(result, null, 2)}\n`
  if (out !== undefined) await writeInto(out, 'result.json', text)
  if (json) {
    process.stdout.write(text)
    return
  }
  const { volume, model, formats, seconds } = result
  const size = `${volume.shape.join(' x ')} voxels, ${volume.slices} slices along ${volume.axis}`
  const { name, version, device, precision } = model
  const lines = [`${volume.path}, ${size}, with ${name} ${version} on ${device} (${precision})`, '', ...report(result)]
  if (out !== undefined) lines.push('', `Written to ${out}: ${['result.json', ...writtenFiles(formats)].join(', ')}`)
  process.stdout.write(`${[...lines, '', timings(seconds)].join('\n')}\n`)
}

function objectsReport({ objects }: VolumeObjectsResult): string[] {
  const rows = objects.map((object, i) => [
    `${i + 1}`,
    promptText(object.prompt as Prompt),
    object.label?.name ?? UNNAMED[object.labelReason ?? 'nothing'],
    object.label ? percent(object.label.probability) : '',
    object.predictedIou === null ? '' : twoDigits(object.predictedIou),
    slicesText(object),
    stopsText(object),
    `${object.voxels}`,
    twoDigits(object.ml),
  ])
  const head = ['#', 'prompt', 'class', 'probability', 'predicted IoU', 'slices', 'ended by', 'voxels', 'ml']
  const empty = objects.flatMap(({ voxels }, i) => (voxels === 0 ? [i + 1] : []))
  const lines = [table(head, rows, ['probability', 'predicted IoU', 'voxels', 'ml'])]
  if (empty.length > 0) lines.push('', `Without a voxel, and in no file but result.json: ${empty.join(', ')}`)
  return lines
}

function slicesText({ slices }: VolumeObjectResult): string {
  return slices.length > 0 ? `${slices[0]!.slice} to ${slices.at(-1)!.slice}` : ''
}

function stopsText({ stops }: VolumeObjectResult): string {
  return stops ? `${stops.low.reason}, ${stops.high.reason}` : ''
}

function classesReport({ classes, labelReason }: VolumeLabelsResult): string[] {
  if (classes.length === 0) return ['Nothing was found.']
  const unknown = UNNAMED[labelReason === 'untrained' ? 'untrained' : 'nothing']
  const rows = classes.map(({ value, name, voxels, ml, confidence }) => [
    `${value}`,
    confidence === null ? `Unknown ${unknown}` : name,
    `${voxels}`,
    twoDigits(ml),
    confidence === null ? '' : twoDigits(confidence),
  ])
  return [table(['value', 'class', 'voxels', 'ml', 'confidence'], rows, ['value', 'voxels', 'ml', 'confidence'])]
}

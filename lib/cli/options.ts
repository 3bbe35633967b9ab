import { InvalidArgumentError, Option } from 'commander'
import { suggestedClasses } from '../classes.js'
import { SegSamError } from '../errors.js'
import type { SegSam } from '../model.js'
import { defaultBundle } from '../package-root.js'
import { AXES, type Axis } from '../volume/axes.js'
import { WINDOW_PRESETS, type WindowChoice } from '../window.js'
import { numbers } from './prompt-arguments.js'

export function bundleOption(): Option {
  return new Option('-m, --model <bundle>', 'folder of the model').default(defaultBundle, 'the one in this package')
}

/** Class ids. */
export function list(text: string): string[] {
  const entries = text.split(',').map((entry) => entry.trim())
  if (entries.includes('') || new Set(entries).size < entries.length) {
    throw new InvalidArgumentError('Allowed: class ids as a,b,c, each once.')
  }
  return entries
}

/** @throws SegSamError `UNKNOWN_CLASS` */
export function checkClasses(ids: readonly string[] | undefined, { classes, info }: SegSam): void {
  const unknown = ids?.find((id) => !classes.some((card) => card.id === id))
  if (unknown === undefined) return
  throw new SegSamError(
    'UNKNOWN_CLASS',
    `--classes has '${unknown}'; allowed: the ${classes.length} ids that \`seg-sam inspect ${info.bundle} --json\` lists. ` +
      suggestedClasses(unknown, classes),
  )
}

export function deviceOption(): Option {
  return new Option('--device <device>', 'auto, cpu, cuda or cuda:N').default('auto').argParser((text) => {
    if (/^(auto|cpu|cuda(:\d{1,3})?)$/.test(text)) return text
    throw new InvalidArgumentError('Allowed: auto, cpu, cuda or cuda:N.')
  })
}

export function precisionOption(): Option {
  return new Option('--precision <precision>', 'of the arithmetic')
    .choices(['auto', 'fp32', 'bf16', 'fp16', 'int8'])
    .default('auto')
}

export function number(text: string): number {
  return numbers(text, 1, 'a number')[0]!
}

/** A parser of whole numbers. */
export function whole(from: number, to = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const allowed = `a whole number ${to === Number.MAX_SAFE_INTEGER ? `from ${from} on` : `from ${from} to ${to}`}`
    const value = numbers(text, 1, allowed)[0]!
    if (!Number.isSafeInteger(value) || value < from || value > to)
      throw new InvalidArgumentError(`Allowed: ${allowed}.`)
    return value
  }
}

export function axis(text: string): Axis {
  const found = AXES.find((name) => name === text.toLowerCase())
  if (!found) throw new InvalidArgumentError(`Allowed: ${AXES.join(', ')}.`)
  return found
}

export function window(text: string): WindowChoice {
  if (text === 'file' || Object.hasOwn(WINDOW_PRESETS, text)) return text as WindowChoice
  const names = ['file', ...Object.keys(WINDOW_PRESETS)].join(', ')
  const allowed = `two intensities low,high with low < high, for example -160,240, or ${names}`
  const [low, high] = numbers(text, 2, allowed)
  if (!(low! < high!)) throw new InvalidArgumentError(`Allowed: ${allowed}.`)
  return [low!, high!]
}

/** `name: value`, added to those before. */
export function header(text: string, before: Record<string, string> = {}): Record<string, string> {
  const [, name, value] = /^([\w-]+):\s*(.*)$/.exec(text) ?? []
  if (name === undefined || value === undefined) throw new InvalidArgumentError('Allowed: "name: value".')
  return { ...before, [name]: value }
}

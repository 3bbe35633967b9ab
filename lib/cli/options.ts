import { InvalidArgumentError, Option } from 'commander'
import { suggestedClasses } from '../classes.js'
import { SegSamError } from '../errors.js'
import type { SegSam } from '../model.js'
import { defaultBundle } from '../package-root.js'
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

export function number(text: string): number {
  return numbers(text, 1, 'a number')[0]!
}

export function window(text: string): WindowChoice {
  if (text === 'file' || Object.hasOwn(WINDOW_PRESETS, text)) return text as WindowChoice
  const names = ['file', ...Object.keys(WINDOW_PRESETS)].join(', ')
  const [low, high] = numbers(text, 2, `two intensities low,high, for example -160,240, or ${names}`)
  return [low!, high!]
}

/** `name: value`, added to those before. */
export function header(text: string, before: Record<string, string> = {}): Record<string, string> {
  const [, name, value] = /^([\w-]+):\s*(.*)$/.exec(text) ?? []
  if (name === undefined || value === undefined) throw new InvalidArgumentError('Allowed: "name: value".')
  return { ...before, [name]: value }
}

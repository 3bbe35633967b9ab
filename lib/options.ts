import { z } from 'zod'
import { unexpected } from './errors.js'

/**
 * Refuses options that are no object or have an unknown name: `multimask_output`, say, would pass unnoticed otherwise,
 * and another default would hold than the caller meant.
 *
 * @throws SegSamError `INVALID_ARGUMENT`
 */
export function checkOptions<T extends object>(options: T, names: readonly (keyof T & string)[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw unexpected('INVALID_ARGUMENT', 'options', options, 'an object', 'Leave it out to take the defaults.')
  }
  const unknown = Object.keys(options).find((key) => !(names as readonly string[]).includes(key))
  if (unknown !== undefined) throw unexpected('INVALID_ARGUMENT', 'an option', unknown, names.join(', '))
}

/**
 * The values of those options that a shape describes, defaults filled in. What an option allows is told by the
 * `describe` of its schema.
 *
 * @throws SegSamError `INVALID_ARGUMENT`
 */
export function parsedOptions<S extends z.ZodRawShape>(
  options: Partial<Record<keyof S, unknown>>,
  shape: S,
): z.output<z.ZodObject<S>> {
  const values = Object.fromEntries(Object.keys(shape).map((name) => [name, options[name as keyof S]]))
  const parsed = z.object(shape).safeParse(values)
  if (parsed.success) return parsed.data
  const name = String(parsed.error.issues[0]!.path[0])
  const { description } = shape[name] as z.ZodType
  throw unexpected('INVALID_ARGUMENT', name, values[name], description ?? parsed.error.issues[0]!.message)
}

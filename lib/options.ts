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

import { SegSamError, unexpected } from '../errors.js'

/**
 * Which of the volumes of a file is meant.
 *
 * @throws SegSamError `INVALID_ARGUMENT` where there are several and no index, or none of this index
 */
export function chosenVolume(index: number | undefined, volumes: number, name: string): number {
  if (index === undefined && volumes === 1) return 0
  if (index === undefined) {
    throw new SegSamError(
      'INVALID_ARGUMENT',
      `${name} holds ${volumes} volumes. Choose one: readVolume(file, { index: 0 }) reads the first.`,
    )
  }
  if (index < volumes) return index
  throw unexpected('INVALID_ARGUMENT', 'index', index, `0 to ${volumes - 1}`)
}

import { constants } from 'node:buffer'
import { SegSamError, unexpected } from '../errors.js'

/** Values (voxels times channels) that a file may declare by default: 512 x 512 x 1024. */
export const MAX_VOXELS = 2 ** 28

/** A voxel of the largest type read, and headers beside them. */
const BYTES_PER_VALUE = 16
const HEADER_BYTES = 2 ** 26

/** @throws SegSamError `INVALID_ARGUMENT` */
export function checkMaxVoxels(maxVoxels: unknown): asserts maxVoxels is number {
  if (!(Number.isSafeInteger(maxVoxels) && (maxVoxels as number) > 0)) {
    throw unexpected('INVALID_ARGUMENT', 'maxVoxels', maxVoxels, 'a whole number, at least 1')
  }
}

/**
 * To call with what a file declares before anything of that size is allocated.
 *
 * @throws SegSamError `INVALID_IMAGE`
 */
export function checkSize(name: string, sizes: readonly number[], maxVoxels: number): void {
  if (!sizes.every((size) => Number.isSafeInteger(size) && size > 0)) {
    throw unexpected('INVALID_IMAGE', `the size of ${name}`, sizes.join(' x '), 'whole numbers, at least 1')
  }
  if (sizes.reduce((product, size) => product * size, 1) <= maxVoxels) return
  throw unexpected(
    'INVALID_IMAGE',
    `the size of ${name}`,
    sizes.join(' x '),
    `at most ${maxVoxels} values`,
    'Raise maxVoxels (of readImage: maxPixels) if you trust the file and have the memory.',
  )
}

/** The most that a compressed file may unfold to before its header is known. */
export function maxUnpackedBytes(maxVoxels: number): number {
  return Math.min(maxVoxels * BYTES_PER_VALUE + HEADER_BYTES, constants.MAX_LENGTH)
}

export function damaged(name: string, reason: string): SegSamError {
  return new SegSamError('INVALID_IMAGE', `${name} is damaged or truncated: ${reason}.`)
}

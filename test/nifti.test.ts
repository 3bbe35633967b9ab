import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { readVolume } from '../lib/index.js'
import { niftiFile } from './volume-files.js'

interface Case {
  file: string
  shape: number[]
  /** RAS, as nibabel has it. */
  affine: number[][]
  values: number[]
}

const made = fileURLToPath(new URL('../build/reference/nifti', import.meta.url))
const cases: Case[] = existsSync(made) ? JSON.parse(readFileSync(join(made, 'expected.json'), 'utf8')) : []

/** What test/reference/make_nifti.py wrote with nibabel and read back. */
describe.skipIf(cases.length === 0)('as nibabel reads it', () => {
  test.each(cases)('$file', async ({ file, shape, affine, values }) => {
    const [width, height = 1, depth = 1, times = 1] = shape as [number, number?, number?, number?]
    const isRgb = file.includes('rgb')
    const voxels = width * height * depth * (isRgb ? 3 : 1)
    for (let index = 0; index < times; index++) {
      const volume = await readVolume(join(made, file), times > 1 ? { index } : {})
      expect(volume.shape).toEqual([width, height, depth])
      expect(volume.channels).toBe(isRgb ? 3 : 1)
      const expected = values.slice(index * voxels, (index + 1) * voxels)
      const isExact = !(volume.data instanceof Float32Array)
      expect([...volume.data]).toEqual(isExact ? expected : [...Float32Array.from(expected)])
      const lps = affine.flatMap((row, r) => row.map((value) => (r < 2 ? -value : value)))
      for (const [i, value] of volume.affine.entries()) expect(value).toBeCloseTo(lps[i]!, 4)
      const isLong = /_[iu]8_|_[iu]4_|_f8_/.test(file)
      expect(volume.warnings.map(({ code }) => code)).toEqual(isLong ? ['ROUNDED'] : [])
    }
  })
})

const IDENTITY = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]

test('voxels begin after the header, and right after it where the offset is 0', async () => {
  const content = niftiFile([2, 1, 1], [7, 8], IDENTITY)
  content.writeFloatLE(0, 108)
  expect([...(await readVolume(content)).data]).toEqual([7, 8])
  for (const offset of [4, 348, 352.5, -352, Number.NaN]) {
    content.writeFloatLE(offset, 108)
    await expect(readVolume(content)).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringMatching(/offset/),
    })
  }
})

test('a position that is no number is refused', async () => {
  const content = niftiFile([2, 1, 1], [7, 8], [Number.NaN, ...IDENTITY.slice(1)])
  await expect(readVolume(content)).rejects.toMatchObject({
    code: 'INVALID_IMAGE',
    message: expect.stringMatching(/position/),
  })
})

test('NIfTI-2 that ends within its header is refused', async () => {
  const header = Buffer.alloc(544)
  header.writeInt32LE(540, 0)
  header.write('n+2\0\r\n\x1a\n', 4, 'latin1')
  header.writeInt16LE(2, 12)
  header.writeInt16LE(8, 14)
  for (let i = 0; i < 8; i++) header.writeBigInt64LE(1n, 16 + 8 * i)
  header.writeInt32LE(1, 344)
  header.writeInt32LE(1, 348)
  for (const offset of [0n, 352n, 544n]) {
    header.writeBigInt64LE(offset, 168)
    await expect(readVolume(header.subarray(0, 400))).rejects.toMatchObject({ code: 'INVALID_IMAGE' })
  }
  expect([...(await readVolume(Buffer.concat([header, Buffer.of(5)]))).data]).toEqual([5])
})

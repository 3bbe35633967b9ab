import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { readVolume } from '../lib/index.js'

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

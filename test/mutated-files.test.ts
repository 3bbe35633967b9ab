import { existsSync } from 'node:fs'
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import sharp from 'sharp'
import { expect, onTestFinished, test } from 'vitest'
import { discImage } from './fixture.js'
import { runProgram } from './run-program.js'
import { ctSlice, dicomFile, niftiFile } from './volume-files.js'

const reader = fileURLToPath(new URL('mutated/read-mutated.mjs', import.meta.url))
const made = fileURLToPath(new URL('../build/reference/dicom', import.meta.url))

/** Small files of each compression, where make_dicom.py has put them. */
const COMPRESSED = [
  'MR_small_RLE.dcm',
  'MR_small_jp2klossless.dcm',
  'MR_small_jpeg_ls_lossless.dcm',
  'SC_rgb_jpeg_gdcm.dcm',
  'SC_rgb_small_odd_jpeg.dcm',
  'SC_rgb_jls_lossy_line.dcm',
  'JPGExtended.dcm',
  'image_dfl.dcm',
]

test('2000 mutated files are read or refused, without a crash, a hang or much memory', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'seg-sam-mutated-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const disc = discImage(40, 30)
  const nifti = niftiFile([40, 30, 1], disc.data, [-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 5, 0])
  await writeFile(join(folder, 'ct.dcm'), dicomFile(ctSlice({ width: 40, height: 30, values: disc.data })))
  await writeFile(join(folder, 'disc.nii'), nifti)
  await writeFile(join(folder, 'disc.nii.gz'), gzipSync(nifti))
  await sharp(disc.data as Uint8Array, { raw: { width: 40, height: 30, channels: 1 } }).toFile(join(folder, 'disc.png'))
  for (const name of COMPRESSED) {
    if (existsSync(join(made, name))) await copyFile(join(made, name), join(folder, name))
  }
  const { code, stdout, stderr } = await runProgram(['--max-old-space-size=1024', reader, folder, '2000', '7'])
  expect(stderr).toBe('')
  expect(code).toBe(0)
  const { read, errors, strange, megabytes } = JSON.parse(stdout)
  expect(strange).toEqual([])
  expect(Object.keys(errors).filter((code) => !['INVALID_IMAGE', 'UNSUPPORTED_FORMAT'].includes(code))).toEqual([])
  expect(read).toBeGreaterThan(500)
  expect(errors.INVALID_IMAGE).toBeGreaterThan(500)
  expect(megabytes).toBeLessThan(2048)
})

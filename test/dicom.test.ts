import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { readImage, readVolume } from '../lib/index.js'

interface Case {
  file: string
  syntax: string
  /** (frames,) rows, columns (, 3) */
  shape: number[]
  frames: number
  /** Of all frames. */
  sum: number
  /** The first frame by the window of the file is there, too. */
  shown: boolean
}

const made = fileURLToPath(new URL('../build/reference/dicom', import.meta.url))
const cases: Case[] = existsSync(made) ? JSON.parse(readFileSync(join(made, 'expected.json'), 'utf8')).cases : []

/** Files that pydicom reads and this package refuses: with what code. */
const REFUSED: Record<string, string> = {
  // Written with implicit VR under an explicit transfer syntax.
  'SC_rgb_jpeg.dcm': 'INVALID_IMAGE',
  // Colours of 32 bits.
  'SC_rgb_rle_32bit.dcm': 'UNSUPPORTED_FORMAT',
  'SC_rgb_rle_32bit_2frame.dcm': 'UNSUPPORTED_FORMAT',
}

/** Lossy JPEG of 12 bits: another inverse transform may round otherwise. */
const ROUNDED = ['JPEG-lossy.dcm', 'JPGExtended.dcm']

/** What test/reference/make_dicom.py had pydicom read. */
describe.skipIf(cases.length === 0)('as pydicom reads it', () => {
  test.each(cases.filter(({ file }) => !(file in REFUSED)))('$file', async ({ file, shape, frames, sum, shown }) => {
    const volume = await readVolume(join(made, file))
    const [rows, columns] = frames > 1 ? shape.slice(1) : shape
    expect(volume.shape).toEqual([columns, rows, frames])
    const expected = numbers(`${file}.values`, Float64Array)
    const slice = volume.slice('z', 0)
    expect(slice.data.length).toBe(expected.length)
    expect(worst(slice.data, Float32Array.from(expected))).toBeLessThanOrEqual(ROUNDED.includes(file) ? 1 : 0)
    let total = 0
    for (const value of volume.data) total += value
    expect(Math.abs(total - sum)).toBeLessThanOrEqual(1e-3 * Math.abs(sum))

    const first = await readImage(join(made, file), { page: 0 })
    expect(first.data).toHaveLength(slice.data.length)
    expect(worst(first.data, slice.data)).toBe(0)
    if (!shown) return
    const { data, window } = volume.slice('z', 0, { window: 'file' })
    const upright = window!.inverted ? data.map((value) => 255 - value) : data
    expect(worst(upright, numbers(`${file}.shown`, Float32Array))).toBeLessThanOrEqual(0.51)
  })

  test.each(Object.entries(REFUSED))('%s is refused', async (file, code) => {
    await expect(readVolume(join(made, file))).rejects.toMatchObject({ code })
  })
})

function worst(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0
  for (let i = 0; i < expected.length; i++) difference = Math.max(difference, Math.abs(got[i]! - expected[i]!))
  return difference
}

function numbers<T>(file: string, Type: new (buffer: ArrayBuffer) => T): T {
  const bytes = readFileSync(join(made, file))
  return new Type(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
}

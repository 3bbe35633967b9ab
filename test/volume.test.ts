import { createReadStream } from 'node:fs'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { listSeries, readImage, readVolume, type VolumeWarningCode } from '../lib/index.js'
import { type CtSlice, ctSlice, type DicomElement, dicomFile, niftiFile } from './volume-files.js'

const RLE = '1.2.840.10008.1.2.5'

const folders: string[] = []
let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'seg-sam-series-'))
  folders.push(folder)
})
afterAll(() => Promise.all(folders.map((made) => rm(made, { recursive: true }))))

const write = async (slices: readonly CtSlice[]) => {
  for (const [i, slice] of slices.entries()) {
    await writeFile(
      join(folder, `${String(i).padStart(3, '0')}.dcm`),
      dicomFile(ctSlice({ instance: i + 1, ...slice })),
    )
  }
}
const at = (z: number, rest: CtSlice = {}): CtSlice => ({
  position: [0, 0, z],
  values: new Int16Array(30).fill(z),
  ...rest,
})
const codes = ({ warnings }: { warnings: readonly { code: VolumeWarningCode }[] }) => warnings.map(({ code }) => code)

describe('a folder', () => {
  test('is ordered by position, not by name, with the affine of the slices', async () => {
    await write([at(30), at(10), at(40), at(20)])
    const volume = await readVolume(folder)
    expect(codes(volume)).toEqual([])
    expect([0, 1, 2, 3].map((z) => volume.slice('z', z).data[0])).toEqual([10, 20, 30, 40])
    expect(volume).toMatchObject({ shape: [6, 5, 4], spacing: [0.5, 0.75, 10], unit: 'HU', modality: 'CT' })
    expect(volume.positionOf([2, 4, 3])).toEqual([1, 3, 40])
    expect(volume.dicom!.slices.map(({ position }) => position![2])).toEqual([10, 20, 30, 40])
    expect(volume.data).toBeInstanceOf(Uint8Array)
  })

  test('with a gap, a duplicate or another orientation warns', async () => {
    await write([at(0), at(5), at(15), at(20)])
    expect(codes(await readVolume(folder))).toEqual(['UNEVEN_SPACING'])
    await write([at(0), at(5), at(5), at(10)])
    const doubled = await readVolume(folder)
    expect(codes(doubled)).toEqual(['DUPLICATE_SLICES'])
    expect(doubled.shape[2]).toBe(3)
    await write([at(0), at(5), at(10), at(99, { orientation: '0\\1\\0\\0\\0\\-1' })])
    const mixed = await readVolume(folder)
    expect(codes(mixed)).toEqual(['MIXED_SLICES'])
    expect(mixed.shape[2]).toBe(3)
    await writeFile(join(folder, 'notes.txt'), 'nothing')
    expect(codes(await readVolume(folder))).toContain('SKIPPED_FILES')
  })

  test('with several series asks for one', async () => {
    await write([at(0), at(5), at(0, { series: '9.9' })])
    const series = await listSeries(folder)
    expect(series.map(({ uid, images }) => [uid, images])).toEqual([
      ['1.2.3.4', 2],
      ['9.9', 1],
    ])
    await expect(readVolume(folder)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/2 series/),
    })
    expect((await readVolume(folder, { series: 0 })).shape[2]).toBe(2)
    await expect(readVolume(folder, { series: 2 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('of a file with very many frames is read', async () => {
    const frames = 150_000
    const pixels: DicomElement = [0x7fe00010, 'OW', new Uint8Array(2 * frames)]
    const content = dicomFile([...ctSlice({ width: 1, height: 1 }), [0x00280008, 'IS', `${frames}`], pixels])
    await writeFile(join(folder, 'many.dcm'), content)
    expect(await listSeries(folder)).toMatchObject([{ images: frames }])
  })

  test('has the files that links lead to, and counts other links as skipped', async () => {
    const elsewhere = await mkdtemp(join(tmpdir(), 'seg-sam-links-'))
    folders.push(elsewhere)
    await write([at(0), at(5)])
    await symlink(join(folder, '000.dcm'), join(elsewhere, 'a.dcm'))
    await symlink(join(folder, '001.dcm'), join(elsewhere, 'b.dcm'))
    const linked = await readVolume(elsewhere)
    expect(linked.shape[2]).toBe(2)
    expect(codes(linked)).toEqual([])
    await symlink(join(folder, 'none'), join(elsewhere, 'c.dcm'))
    await mkdir(join(folder, 'more'))
    await symlink(join(folder, 'more'), join(elsewhere, 'd'))
    const { warnings } = await readVolume(elsewhere)
    expect(warnings).toMatchObject([{ code: 'SKIPPED_FILES', message: expect.stringMatching(/^2 files/) }])
  })

  test('without an image is refused', async () => {
    await expect(readVolume(folder)).rejects.toMatchObject({ code: 'UNSUPPORTED_FORMAT' })
    await expect(readVolume(join(folder, 'none'))).rejects.toMatchObject({ code: 'READ_FAILED' })
  })
})

describe('a slice', () => {
  const values = Int16Array.from({ length: 2 * 3 * 4 }, (_, i) => i)
  // RAS: i to the right, j to the front, k to the head.
  const ras = () => readVolume(niftiFile([2, 3, 4], values, [1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0]))

  test('of a voxel axis lies as in memory', async () => {
    const volume = await ras()
    expect(volume.slice('z', 1)).toMatchObject({
      width: 2,
      height: 3,
      data: Int16Array.of(6, 7, 8, 9, 10, 11),
      spacing: [1, 2],
    })
    expect([...volume.slice('y', 0).data]).toEqual([0, 1, 6, 7, 12, 13, 18, 19])
    expect([...volume.slice('x', 1).data]).toEqual([1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23])
  })

  test('of a patient axis lies as radiologists look at it, and tells its voxels', async () => {
    const volume = await ras()
    // The patient's right is to the left already; the front goes to the top.
    const axial = volume.slice('axial', 0)
    expect([...axial.data]).toEqual([5, 4, 3, 2, 1, 0])
    expect([...volume.slice('coronal', 0).data]).toEqual([19, 18, 13, 12, 7, 6, 1, 0])
    expect([...volume.slice('sagittal', 0).data].slice(0, 3)).toEqual([22, 20, 18])
    for (const axis of ['x', 'y', 'z', 'axial', 'coronal', 'sagittal'] as const) {
      const { data, width, plane } = volume.slice(axis, 1)
      for (let i = 0; i < data.length; i++) {
        const [x, y] = [i % width, Math.floor(i / width)]
        const [a, b, c] = plane.origin.map((start, n) => start + x * plane.right[n]! + y * plane.down[n]!)
        expect(data[i]).toBe(values[a! + 2 * (b! + 3 * c!)])
      }
    }
  })

  test('is windowed when asked to, and tells how', async () => {
    const volume = await readVolume(dicomFile(ctSlice({ width: 3, height: 1, values: [-1000, 40, 500] })))
    expect(volume.slice('z', 0)).toMatchObject({ data: Int16Array.of(-1000, 40, 500), window: null })
    const { data, window } = volume.slice('z', 0, { window: 'soft-tissue' })
    expect([...data]).toEqual([0, 128, 255])
    expect(window).toEqual({ kind: 'linear', low: -160, high: 240, inverted: false })
    expect(volume.slice('z', 0, { window: 'file' }).window).toMatchObject({ low: -160, high: 239 })
    const inverted = dicomFile([
      ...ctSlice({ width: 3, height: 1, values: [-1000, 40, 500] }),
      [0x00280004, 'CS', 'MONOCHROME1'],
    ])
    expect([...(await readVolume(inverted)).slice('z', 0, { window: [-160, 240] }).data]).toEqual([255, 128, 0])
    expect(() => volume.slice('z', 1)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    expect(() => volume.slice('w' as 'z', 0)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    expect(() => volume.slice('z', 0, { window: [1, 1] })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    )
  })
})

test('a path, a buffer and a stream give the same', async () => {
  const file = join(folder, 'ct.dcm')
  const content = dicomFile(ctSlice())
  await writeFile(file, content)
  const expected = (await readVolume(file)).data
  expect((await readVolume(content)).data).toEqual(expected)
  expect((await readVolume(createReadStream(file))).data).toEqual(expected)
  expect((await readVolume(new Blob([new Uint8Array(content)]).stream())).data).toEqual(expected)
  expect((await readImage(file)).data).toEqual(expected)
  expect((await readVolume(gzipSync(content))).data).toEqual(expected)
})

describe('a file that declares too much', () => {
  test('is refused before anything is allocated', async () => {
    const huge = dicomFile([...ctSlice(), [0x00280008, 'IS', '2000000000']])
    await expect(readVolume(huge)).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringMatching(/at most 268435456/),
    })
    const nifti = niftiFile([32000, 32000, 32000], [], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0])
    await expect(readVolume(nifti)).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringMatching(/at most/),
    })
    await expect(readVolume(dicomFile(ctSlice()), { maxVoxels: 29 })).rejects.toMatchObject({ code: 'INVALID_IMAGE' })
  })

  test('is refused before its frames are counted out, where it has no bytes for them', async () => {
    const declared = dicomFile([...ctSlice({ width: 1, height: 1 }), [0x00280008, 'IS', '1000']])
    await expect(readVolume(declared)).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringMatching(/2000 bytes/),
    })
    await writeFile(join(folder, 'native.dcm'), declared)
    const compressed = dicomFile([...ctSlice({ width: 1, height: 1 }), [0x00280008, 'IS', '1000']], RLE)
    await writeFile(join(folder, 'rle.dcm'), compressed)
    expect(await listSeries(folder)).toEqual([])
  })

  test('names the option of each reader', async () => {
    const content = dicomFile(ctSlice())
    await expect(readImage(content, { maxPixels: 29 })).rejects.toMatchObject({
      message: expect.stringMatching(/maxPixels/),
    })
    await expect(readVolume(content, { maxVoxels: 29 })).rejects.toMatchObject({
      message: expect.stringMatching(/maxVoxels/),
    })
    const bomb = gzipSync(Buffer.alloc(2 ** 27))
    await expect(readImage(bomb, { maxPixels: 29 })).rejects.toMatchObject({
      message: expect.stringMatching(/maxPixels/),
    })
  })

  test('by unfolding is refused', async () => {
    const bomb = gzipSync(Buffer.alloc(2 ** 27))
    await expect(readVolume(bomb, { maxVoxels: 1000 })).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringMatching(/unfolds/),
    })
  })
})

test('frames without a place are as far apart as Spacing Between Slices says, and a warning tells it', async () => {
  const several: DicomElement[] = [
    ...ctSlice({ width: 1, height: 1 }),
    [0x00280008, 'IS', '3'],
    [0x7fe00010, 'OW', [1, 2, 3]],
  ]
  const apart = await readVolume(dicomFile([...several, [0x00180088, 'DS', '4']]))
  expect(apart.spacing).toEqual([0.5, 0.75, 4])
  expect(apart.warnings).toMatchObject([{ code: 'NO_GEOMETRY', message: expect.stringMatching(/4.00 mm/) }])
  expect((await readVolume(dicomFile(several))).spacing[2]).toBe(2.5)
  expect((await readVolume(dicomFile([...ctSlice(), [0x00180088, 'DS', '4']]))).spacing[2]).toBe(2.5)
})

describe('the first value of a VOI LUT', () => {
  const lut = (vr: string, first: number): DicomElement => [
    0x00283010,
    'SQ',
    [
      [
        [0x00283002, vr, [2, first, 8]],
        [0x00283006, 'OW', [0, 255]],
      ],
    ],
  ]
  const firstOf = async (...elements: DicomElement[]) =>
    (await readVolume(dicomFile([...ctSlice(), ...elements]))).slice('z', 0, { window: 'file' }).window

  test('has the sign of its representation', async () => {
    expect(await firstOf(lut('SS', -1000))).toMatchObject({ kind: 'lut', first: -1000 })
    expect(await firstOf(lut('US', 40000), [0x00280103, 'US', [1]])).toMatchObject({ kind: 'lut', first: 40000 })
  })

  test('has, where that is not told, a sign if the values may have one', async () => {
    expect(await firstOf(lut('UN', -1000))).toMatchObject({ first: -1000 })
    expect(await firstOf(lut('UN', 40000), [0x00281052, 'DS', '0'])).toMatchObject({ first: 40000 })
  })
})

test('no error tells what a file says of the patient', async () => {
  const content = dicomFile([...ctSlice(), [0x00280004, 'CS', 'SECRET']])
  const error = await readVolume(content).catch((raised) => raised)
  expect(error.code).toBe('UNSUPPORTED_FORMAT')
  expect(`${error.stack} ${error.cause}`).not.toMatch(/secret/i)
})

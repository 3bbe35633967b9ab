import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type MedicalImage, readImage } from '../lib/index.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'seg-sam-image-'))
})
afterAll(() => rm(folder, { recursive: true }))

const gray8 = Uint8Array.of(0, 50, 100, 150, 200, 250)
const raw = { width: 3, height: 2, channels: 1 } as const
const png8 = () => sharp(gray8, { raw }).toColourspace('b-w').png().toBuffer()
const gray16 = Uint16Array.of(0, 1, 255, 256, 40_000, 65_535)
const opened16 = () => sharp(gray16, { raw }).toColourspace('grey16')
const colour = Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9, 0, 0, 0, 255, 255, 255)
const openedColour = () => sharp(colour, { raw: { width: 3, height: 2, channels: 3 } })

describe('readImage', () => {
  it('reads a path, a file URL and a buffer alike', async () => {
    const path = join(folder, 'gray.png')
    await writeFile(path, await png8())
    const expected = { data: gray8, width: 3, height: 2, channels: 1 }
    expect(await readImage(path)).toEqual(expected)
    expect(await readImage(pathToFileURL(path))).toEqual(expected)
    expect(await readImage(await png8())).toEqual(expected)
  })

  it('keeps 16-bit gray as it is, from PNG and TIFF', async () => {
    const expected = { data: gray16, width: 3, height: 2, channels: 1 }
    expect(await readImage(await opened16().png().toBuffer())).toEqual(expected)
    expect(await readImage(await opened16().tiff({ compression: 'none' }).toBuffer())).toEqual(expected)
  })

  it('keeps the values of a float TIFF', async () => {
    expect(await readImage(floatTiff([-1000.5, 0, 3000, 1e-3]))).toEqual({
      data: Float32Array.of(-1000.5, 0, 3000, 1e-3),
      width: 2,
      height: 2,
      channels: 1,
    })
  })

  it('refuses a float TIFF with a pixel that is not a number', async () => {
    await expect(readImage(floatTiff([0, 0, Number.NaN, 0]))).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringContaining('x 0, y 1'),
    })
  })

  it('refuses signed 16-bit files rather than clip them', async () => {
    await expect(readImage(tiff(Int16Array.of(-1000, 0, 1, 2), 2))).rejects.toMatchObject({
      code: 'UNSUPPORTED_FORMAT',
    })
  })

  it('reads colour from PNG, palettes and WebP as RGB', async () => {
    const expected = { data: colour, width: 3, height: 2, channels: 3 }
    expect(await readImage(await openedColour().png().toBuffer())).toEqual(expected)
    expect(await readImage(await openedColour().png({ palette: true }).toBuffer())).toEqual(expected)
    expect(await readImage(await openedColour().webp({ lossless: true }).toBuffer())).toEqual(expected)
  })

  it('turns CMYK into RGB', async () => {
    const white = sharp({ create: { width: 8, height: 8, channels: 3, background: 'white' } })
    const image = await readImage(await white.toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer())
    expect(image).toMatchObject({ width: 8, height: 8, channels: 3 })
    expect(Math.min(...image.data)).toBeGreaterThan(250)
  })

  it('drops transparency and keeps the values under it', async () => {
    const translucent = Uint8Array.of(10, 0, 20, 128, 30, 255)
    const png = await sharp(translucent, { raw: { width: 3, height: 1, channels: 2 } })
      .toColourspace('b-w')
      .png()
      .toBuffer()
    expect(await readImage(png)).toEqual({ data: Uint8Array.of(10, 20, 30), width: 3, height: 1, channels: 1 })
    const rgba = await openedColour().ensureAlpha(0.5).png().toBuffer()
    expect(await readImage(rgba)).toEqual({ data: colour, width: 3, height: 2, channels: 3 })
  })

  it('applies the EXIF orientation', async () => {
    const turned = await openedColour().withMetadata({ orientation: 6 }).png().toBuffer()
    expect(await readImage(turned)).toMatchObject({ width: 2, height: 3 })
  })

  it('asks which page of a multi-page TIFF is meant', async () => {
    const pages = await sharp(Uint8Array.of(1, 2, 3, 4, 5, 6), {
      raw: { width: 3, height: 2, channels: 1, pageHeight: 1 },
    })
      .toColourspace('b-w')
      .tiff({ compression: 'none' })
      .toBuffer()
    await expect(readImage(pages)).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringMatching(/2 pages/),
    })
    expect(await readImage(pages, { page: 1 })).toEqual({
      data: Uint8Array.of(4, 5, 6),
      width: 3,
      height: 1,
      channels: 1,
    })
    await expect(readImage(pages, { page: 2 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  it('hands raw pixels back as they are', async () => {
    const image: MedicalImage = { data: Int16Array.of(-1000, 0, 40, 3000), width: 2, height: 2, channels: 1 }
    expect(await readImage(image)).toBe(image)
  })
})

describe('readImage refuses', () => {
  it('a file that is not there, or is a folder', async () => {
    await expect(readImage(join(folder, 'none.png'))).rejects.toMatchObject({
      code: 'READ_FAILED',
      message: expect.stringMatching(/none\.png/),
    })
    await expect(readImage(folder)).rejects.toMatchObject({ code: 'READ_FAILED' })
  })

  it('what is not an image, or an image of another format', async () => {
    await expect(readImage(Buffer.alloc(0))).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringMatching(/empty/),
    })
    for (const content of ['hello', '<svg xmlns="http://www.w3.org/2000/svg" width="5" height="5"/>']) {
      await expect(readImage(Buffer.from(content))).rejects.toMatchObject({ code: 'UNSUPPORTED_FORMAT' })
    }
    await expect(readImage(Buffer.concat([Buffer.alloc(128), Buffer.from('DICM')]))).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringMatching(/DICOM/),
    })
  })

  it('a truncated file of any format, wherever it ends', async () => {
    const noise = sharp(
      Uint8Array.from({ length: 4096 }, (_, i) => (i * 2654435761) >>> 24),
      {
        raw: { width: 64, height: 64, channels: 1 },
      },
    )
    for (const format of ['png', 'jpeg', 'tiff', 'webp'] as const) {
      const whole = await noise.clone().toFormat(format).toBuffer()
      for (const share of [0.02, 0.3, 0.5, 0.6, 0.9]) {
        const cut = whole.subarray(0, Math.floor(whole.length * share))
        await expect(readImage(cut), `${format} ${share}`).rejects.toMatchObject({
          code: 'INVALID_IMAGE',
          message: expect.stringContaining(`is a damaged or incomplete ${format.toUpperCase()}: `),
        })
      }
    }
  })

  it('a file that begins as a TIFF and ends there, of both byte orders and of BigTIFF', async () => {
    for (const start of ['II*\0', 'MM\0*', 'II+\0', 'MM\0+']) {
      await expect(readImage(Buffer.from(`${start}\x08\0\0\0`, 'latin1'))).rejects.toMatchObject({
        code: 'INVALID_IMAGE',
        message: 'The image buffer is a damaged or incomplete TIFF: its header cannot be read',
      })
    }
  })

  it('a small file that claims to be huge', async () => {
    const png = await png8()
    png.writeUInt32BE(60_000, 16)
    png.writeUInt32BE(60_000, 20)
    await expect(readImage(png)).rejects.toMatchObject({ code: 'INVALID_IMAGE' })
    await expect(readImage(await png8(), { maxPixels: 5 })).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringMatching(/3 x 2.*at most 5 pixels/),
    })
  })

  it('raw pixels that do not fit their size, type or range', async () => {
    const wrong: Partial<Record<keyof MedicalImage, unknown>>[] = [
      { data: new Uint8Array(5) },
      { data: [0, 0, 0, 0, 0, 0] },
      { data: new Float64Array(6) },
      { data: Float32Array.of(0, 0, 0, 0, Number.POSITIVE_INFINITY, 0) },
      { width: 0, data: new Uint8Array(0) },
      { width: 1.5, data: new Uint8Array(3) },
      { height: -2 },
      { width: Number.NaN },
      { channels: 2, data: new Uint8Array(12) },
      { data: undefined },
    ]
    for (const change of wrong) {
      const image = { data: gray8, width: 3, height: 2, channels: 1, ...change } as MedicalImage
      await expect(readImage(image), JSON.stringify(change)).rejects.toMatchObject({ code: 'INVALID_IMAGE' })
    }
    await expect(readImage(null as unknown as MedicalImage)).rejects.toMatchObject({ code: 'INVALID_IMAGE' })
    await expect(readImage(7 as unknown as MedicalImage)).rejects.toMatchObject({ code: 'INVALID_IMAGE' })
  })

  it('raw pixels whose buffer was transferred away', async () => {
    const data = new Uint8Array(6)
    structuredClone(data.buffer, { transfer: [data.buffer] })
    await expect(readImage({ data, width: 3, height: 2, channels: 1 })).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringMatching(/transferred/),
    })
  })
})

/** A little-endian, uncompressed gray TIFF of the smallest kind; sharp writes neither float nor signed ones. */
function tiff(values: Float32Array | Int16Array, width: number): Buffer {
  const SIGNED = 2
  const FLOAT = 3
  const bytes = Buffer.from(values.buffer)
  const tags = [
    [256, width],
    [257, values.length / width],
    [258, values.BYTES_PER_ELEMENT * 8],
    [259, 1],
    [262, 1],
    [273, 8],
    [277, 1],
    [278, values.length / width],
    [279, bytes.length],
    [339, values instanceof Float32Array ? FLOAT : SIGNED],
  ] as const
  const directory = Buffer.alloc(2 + tags.length * 12 + 4)
  directory.writeUInt16LE(tags.length, 0)
  for (const [i, [tag, value]] of tags.entries()) {
    directory.writeUInt16LE(tag, 2 + i * 12)
    directory.writeUInt16LE(4, 4 + i * 12)
    directory.writeUInt32LE(1, 6 + i * 12)
    directory.writeUInt32LE(value, 10 + i * 12)
  }
  const header = Buffer.from('II*\0\0\0\0\0', 'latin1')
  header.writeUInt32LE(8 + bytes.length, 4)
  return Buffer.concat([header, bytes, directory])
}

function floatTiff(values: number[]): Buffer {
  return tiff(Float32Array.from(values), 2)
}

import { expect, test } from 'vitest'
import { readVolume } from '../lib/index.js'
import { ctSlice, dicomFile } from './volume-files.js'

interface Encoder {
  getDecodedBuffer(info: object): Uint8Array
  setInterleaveMode?(mode: number): void
  encode(): void
  getEncodedBuffer(): Uint8Array
}

async function encoded(codec: string, name: string, pixels: readonly number[]): Promise<Buffer> {
  const factory = (await import(`@cornerstonejs/${codec}/wasmjs`)).default
  const module = await factory({ print: () => {}, printErr: () => {} })
  const encoder: Encoder = new module[name]()
  const info = { width: 32, height: 32, bitsPerSample: 8, componentCount: 3, isSigned: false }
  const buffer = encoder.getDecodedBuffer(info)
  for (let i = 0; i < buffer.length; i++) buffer[i] = pixels[i % 3]!
  encoder.setInterleaveMode?.(2)
  encoder.encode()
  return Buffer.from(encoder.getEncodedBuffer())
}

function colourFile(transferSyntax: string, photometric: string, frame: Uint8Array): Buffer {
  const head = dicomFile(
    [
      ...ctSlice().filter(([tag]) => tag !== 0x7fe00010),
      [0x00280002, 'US', [3]],
      [0x00280004, 'CS', photometric],
      [0x00280006, 'US', [0]],
      [0x00280010, 'US', [32]],
      [0x00280011, 'US', [32]],
      [0x00280100, 'US', [8]],
      [0x00280101, 'US', [8]],
      [0x00280102, 'US', [7]],
    ],
    transferSyntax,
  )
  const padded = Buffer.concat([frame, Buffer.alloc(frame.length % 2)])
  const length = Buffer.alloc(4)
  length.writeUInt32LE(padded.length)
  const pixels = ['e07f10004f420000ffffffff', 'feff00e000000000', 'feff00e0'].map((part) => Buffer.from(part, 'hex'))
  return Buffer.concat([head, ...pixels, length, padded, Buffer.from('feffdde000000000', 'hex')])
}

const [JPEG_LS, JPEG_2000] = ['1.2.840.10008.1.2.4.80', '1.2.840.10008.1.2.4.90']
/** Red as YBR_FULL (PS3.3 C.7.6.3.1.2). */
const RED = [76, 85, 255]

async function firstPixel(file: Buffer): Promise<number[]> {
  return [...(await readVolume(file)).data.slice(0, 3)]
}

test('YBR_FULL in JPEG-LS is turned into RGB, and RGB is left', async () => {
  const frame = await encoded('codec-charls', 'JpegLSEncoder', RED)
  expect(await firstPixel(colourFile(JPEG_LS, 'YBR_FULL', frame))).toEqual([254, 0, 0])
  expect(await firstPixel(colourFile(JPEG_LS, 'RGB', frame))).toEqual(RED)
})

test('YBR_FULL in JPEG 2000 is turned into RGB where its codec does not', async () => {
  const red = await encoded('codec-openjpeg', 'J2KEncoder', [254, 0, 0])
  for (const photometric of ['YBR_FULL', 'YBR_RCT', 'RGB']) {
    expect(await firstPixel(colourFile(JPEG_2000, photometric, red))).toEqual([254, 0, 0])
  }
  // Gray without the component transform that it was encoded with: Y 100, Cb and Cr 128.
  const gray = await encoded('codec-openjpeg', 'J2KEncoder', [100, 100, 100])
  const transform = gray.indexOf('ff52', 0, 'hex') + 8
  expect(gray[transform]).toBe(1)
  gray[transform] = 0
  expect(await firstPixel(colourFile(JPEG_2000, 'YBR_FULL', gray))).toEqual([100, 100, 100])
  expect(await firstPixel(colourFile(JPEG_2000, 'RGB', gray))).toEqual([100, 128, 128])
})

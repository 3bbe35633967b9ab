import { expect, test } from 'vitest'
import { decodeJpeg12 } from '../lib/dicom/jpeg12.js'

const segment = (marker: number, ...bytes: number[]) => [0xff, marker, 0, bytes.length + 2, ...bytes]
const header = (size: number) => segment(0xc1, 12, size >> 8, size & 255, size >> 8, size & 255, 1, 1, 0x11, 0)
const table = (place: number) => segment(0xc4, place, 1, ...new Array(15).fill(0), 0)
const quantization = segment(0xdb, 0, ...new Array(64).fill(1))
/** One block without coefficients: gray. */
const jpeg = (...headers: number[][]) =>
  Uint8Array.of(
    ...[0xff, 0xd8, ...quantization, ...table(0), ...table(0x10), ...headers.flat()],
    ...[...segment(0xda, 1, 1, 0, 0, 63, 0), 0x3f, 0xff, 0xd9],
  )

test('a frame has the size of its one header', () => {
  expect([...decodeJpeg12(jpeg(header(1)), { width: 1, height: 1 })]).toEqual([2048])
  expect(() => decodeJpeg12(jpeg(header(60000)), { width: 1, height: 1 })).toThrow(/size/)
  expect(() => decodeJpeg12(jpeg(header(1), header(60000)), { width: 1, height: 1 })).toThrow(/two headers/)
})

import { expect, test } from 'vitest'
import { physical } from '../lib/files/numbers.js'

test('what a scaled whole number loses as a float is told', () => {
  expect(physical(Uint32Array.of(2 ** 24 + 1), 2, 0).rounded).toBe(true)
  expect(physical(Uint16Array.of(65535), 1001, 0).rounded).toBe(true)
  expect(physical(Uint32Array.of(2 ** 24), 2, 0)).toMatchObject({ data: Float32Array.of(2 ** 25), rounded: false })
})

test('what a 64-bit whole number loses as a double is told', () => {
  expect(physical(BigInt64Array.of(2n ** 60n + 1n), 1, 0).rounded).toBe(true)
  expect(physical(BigInt64Array.of(2n ** 60n), 1, 0).rounded).toBe(false)
  expect(physical(BigInt64Array.of(2n ** 53n + 1n), 1, -(2 ** 53)).rounded).toBe(true)
})

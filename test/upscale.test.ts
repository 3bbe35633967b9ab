import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addon } from '../lib/addon.js'

/**
 * SAM's `postprocess_masks`: bilinearly to the square that the encoder sees, cropped to the part that the image covers,
 * bilinearly to the size of the image. Pixel centres at half-integers (`align_corners=False`).
 */
function upscaledSlowly(
  logits: Float32Array,
  side: number,
  width: number,
  height: number,
  imageSize: number,
  mode: string,
) {
  const scale = imageSize / Math.max(width, height)
  const covered = (length: number) => (mode === 'stretch' ? imageSize : Math.max(1, Math.floor(length * scale + 0.5)))
  const [inputWidth, inputHeight] = [covered(width), covered(height)]
  const input = Array.from({ length: inputHeight }, (_, y) =>
    Array.from({ length: inputWidth }, (_, x) =>
      sample((ix, iy) => logits[iy * side + ix]!, x, y, [side, side], [imageSize, imageSize]),
    ),
  )
  return Array.from({ length: width * height }, (_, i) =>
    sample((ix, iy) => input[iy]![ix]!, i % width, Math.floor(i / width), [inputWidth, inputHeight], [width, height]),
  )
}

type Size = [width: number, height: number]

function sample(at: (x: number, y: number) => number, x: number, y: number, from: Size, to: Size): number {
  const sourceX = Math.max(0, ((x + 0.5) * from[0]) / to[0] - 0.5)
  const sourceY = Math.max(0, ((y + 0.5) * from[1]) / to[1] - 0.5)
  const [left, top] = [Math.floor(sourceX), Math.floor(sourceY)]
  const [right, bottom] = [Math.min(left + 1, from[0] - 1), Math.min(top + 1, from[1] - 1)]
  const [u, v] = [sourceX - left, sourceY - top]
  const above = at(left, top) * (1 - u) + at(right, top) * u
  const below = at(left, bottom) * (1 - u) + at(right, bottom) * u
  return above * (1 - v) + below * v
}

describe('upscaling of low-resolution logits', () => {
  for (const mode of ['longest', 'stretch'] as const) {
    it(`equals a bilinear reference, ${mode}`, () => {
      fc.assert(
        fc.property(
          fc.integer({ min: 1, max: 40 }),
          fc.integer({ min: 1, max: 40 }),
          fc.constantFrom(4, 8),
          fc.constantFrom(1, 4),
          fc.double({ min: -1, max: 1, noNaN: true }),
          fc.array(fc.double({ min: -4, max: 4, noNaN: true }), { minLength: 128, maxLength: 128 }),
          (width, height, side, enlargement, threshold, values) => {
            const count = 2
            const imageSize = side * enlargement
            const logits = Float32Array.from({ length: count * side * side }, (_, i) => values[i % values.length]!)
            for (let m = 0; m < count; m++) {
              const own = logits.subarray(m * side * side, (m + 1) * side * side)
              const expected = upscaledSlowly(own, side, width, height, imageSize, mode)
              const upscaled = addon().upscaleLogits(own, side, width, height, imageSize, mode)
              expect(upscaled).toHaveLength(width * height)
              for (const [i, logit] of expected.entries()) expect(upscaled[i]).toBeCloseTo(logit, 4)
              const area = addon().upscaledArea(own, side, width, height, imageSize, mode, threshold)
              expect(area).toBe(upscaled.filter((logit) => logit > Math.fround(threshold)).length)
              const certain = (by: number) => expected.filter((logit) => logit > threshold + by).length
              expect(area).toBeGreaterThanOrEqual(certain(1e-4))
              expect(area).toBeLessThanOrEqual(certain(-1e-4))
            }
          },
        ),
      )
    })
  }

  it('puts a logit that equals the threshold into the background', () => {
    expect(addon().upscaledArea(new Float32Array(16), 4, 5, 5, 16, 'longest', 0)).toBe(0)
    expect(addon().upscaledArea(new Float32Array(16), 4, 5, 5, 16, 'longest', -1e-3)).toBe(25)
  })

  it('refuses buffers of the wrong size', () => {
    expect(() => addon().upscaleLogits(new Float32Array(15), 4, 5, 5, 16, 'longest')).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    )
    expect(() => addon().upscaledArea(new Float32Array(15), 4, 5, 5, 16, 'longest', 0)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    )
  })
})

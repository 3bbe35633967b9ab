import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { defaultBundle, readImage, runtimeInfo, SegSam } from '../lib/index.js'

const image = fileURLToPath(new URL('../examples/images/mni152_axial_z8.png', import.meta.url))
const prompts = [{ box: [83, 87, 105, 117] }, { points: [{ x: 94, y: 102 }] }] as const
const multipliesBytes =
  process.platform === 'linux' &&
  process.arch === 'x64' &&
  readFileSync('/proc/cpuinfo', 'utf8').includes('avx512_vnni')

describe('precision int8', () => {
  it('gives nearly the masks and names of fp32, with a smaller encoder, or is refused by a processor without it', async () => {
    if (!multipliesBytes) {
      await expect(SegSam.load(defaultBundle, { device: 'cpu', precision: 'int8' })).rejects.toMatchObject({
        code: 'DEVICE_UNAVAILABLE',
        message: expect.stringMatching(/int8.*VNNI.*auto/),
      })
      return
    }
    const read = await readImage(image)
    const result = async (precision: 'fp32' | 'bf16' | 'int8') => {
      using model = await SegSam.load(defaultBundle, { device: 'cpu', precision })
      expect(model.info.precision).toBe(precision)
      const scene = await model.encode(read)
      return {
        objects: await scene.segment(prompts),
        bytes: model.stats().memory.weightBytes,
        saved: await scene.save(),
      }
    }
    const [exact, bytes] = [await result('fp32'), await result('int8')]
    expect(bytes.bytes).toBeLessThan(0.7 * exact.bytes)
    for (const [i, object] of bytes.objects.entries()) {
      expect(object.mask.iou(exact.objects[i]!.mask)).toBeGreaterThan(0.97)
      expect(object.candidates[0]!.id).toBe(exact.objects[i]!.candidates[0]!.id)
      expect(object.logits).not.toEqual(exact.objects[i]!.logits)
    }
    if (runtimeInfo().bf16) {
      // What is not in 8 bits is in bf16: were they equal, nothing would have been computed in 8 bits.
      const rounded = await result('bf16')
      expect(bytes.objects[0]!.logits).not.toEqual(rounded.objects[0]!.logits)
      expect(bytes.bytes).toBeLessThan(rounded.bytes)
    }
    using fp32 = await SegSam.load(defaultBundle, { device: 'cpu', precision: 'fp32' })
    await expect(fp32.restore(bytes.saved)).rejects.toMatchObject({
      code: 'SCENE_MISMATCH',
      message: expect.stringMatching(/int8.*fp32/),
    })
  })
})

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { addon } from '../lib/addon.js'
import { type MedicalImage, SegSam } from '../lib/index.js'
import { bundle, discImage } from './fixture.js'
import { holdDevice } from './held-device.js'

const image = discImage(120, 90)
const others = [1, 2, 3].map((shift): MedicalImage => ({ ...image, data: image.data.map((value) => value + shift) }))
const prompts = [{ box: [30, 20, 90, 70] }] as const

let bytes: number
let model: SegSam

async function load(sceneCacheBytes: number) {
  model = await SegSam.load(bundle, { device: 'cpu', sceneCacheBytes })
}

beforeEach(async () => {
  await load(0)
  const scene = await model.encode(image)
  bytes = scene.bytes
  scene.dispose()
  model.dispose()
})
afterEach(() => {
  model.dispose()
  expect(addon().counters()).toMatchObject({ scenes: 0, queued: 0 })
})

it('is off where no bytes are given', async () => {
  await load(0)
  for (let i = 0; i < 2; i++) (await model.encode(image)).dispose()
  expect(model.stats().cache).toEqual({ hits: 0, misses: 0, evicted: 0, scenes: 0, bytes: 0, limitBytes: 0 })
  expect(model.stats().encode.passes).toBe(2)
})

it('gives the features of the same pixels again, with the same masks', async () => {
  await load(10 * bytes)
  const first = await model.encode(image)
  const [expected] = await first.segment(prompts)
  const copy = { ...image, data: Buffer.from(image.data) }
  const again = await model.encode(copy)
  expect((await again.segment(prompts))[0]!.mask).toEqual(expected!.mask)
  expect(model.stats()).toMatchObject({
    encode: { passes: 1 },
    memory: { scenes: 1, sceneBytes: bytes },
    cache: { hits: 1, misses: 1, evicted: 0, scenes: 1, bytes, limitBytes: 10 * bytes },
  })
  for (const scene of [first, again]) scene.dispose()
})

describe('tells apart', () => {
  const { data, width, height } = image
  const first = Uint8Array.from(data)
  first[0]! ^= 1
  it.each<[string, MedicalImage, [number, number] | undefined]>([
    ['another pixel', { ...image, data: first }, undefined],
    ['another shape', { ...image, width: height, height: width }, undefined],
    ['another type', { ...image, data: Uint16Array.from(data) }, undefined],
    ['another window', image, [10, 90]],
    ['other channels', { data, width: width / 3, height, channels: 3 }, undefined],
  ])('%s', async (_, other, window) => {
    await load(10 * bytes)
    const scenes = [await model.encode(image), await model.encode(other, window ? { window } : {})]
    expect(model.stats().cache).toMatchObject({ hits: 0, misses: 2 })
    for (const scene of scenes) scene.dispose()
  })
})

it('takes what it has and encodes the rest of a list, in order', async () => {
  await load(10 * bytes)
  const kept = await model.encode(others[0]!)
  const scenes = await model.encode([image, others[0]!, others[1]!])
  expect(model.stats()).toMatchObject({ encode: { passes: 2, items: 3 }, cache: { hits: 1, misses: 3 } })
  const [expected] = await kept.segment(prompts)
  expect((await scenes[1]!.segment(prompts))[0]!.logits).toEqual(expected!.logits)
  expect((await scenes[0]!.segment(prompts))[0]!.logits).not.toEqual(expected!.logits)
  for (const scene of [kept, ...scenes]) scene.dispose()
})

it('lets go of what was asked for least recently, which a caller may still hold', async () => {
  await load(2 * bytes)
  const [a, b] = [await model.encode(image), await model.encode(others[0]!)]
  ;(await model.encode(image)).dispose()
  const c = await model.encode(others[1]!) // in the place of b
  expect(model.stats().cache).toMatchObject({ scenes: 2, bytes: 2 * bytes, evicted: 1, hits: 1 })
  expect(model.stats().memory.scenes).toBe(3)
  expect(await b.segment(prompts)).toHaveLength(1)
  b.dispose()
  expect(model.stats().memory.scenes).toBe(2)
  ;(await model.encode(image)).dispose()
  expect(model.stats().cache.hits).toBe(2)
  ;(await model.encode(others[0]!)).dispose()
  expect(model.stats().cache).toMatchObject({ hits: 2, misses: 4 })
  for (const scene of [a, c]) scene.dispose()
})

it('keeps no scene that is larger than the cache', async () => {
  await load(bytes - 1)
  ;(await model.encode(image)).dispose()
  expect(model.stats().cache).toMatchObject({ scenes: 0, bytes: 0, evicted: 0 })
})

it('keeps its own handle when a caller disposes, and the caller when the model is disposed', async () => {
  await load(10 * bytes)
  const first = await model.encode(image)
  const second = await model.encode(image)
  first.dispose()
  expect(second.disposed).toBe(false)
  expect(await second.segment(prompts)).toHaveLength(1)
  second.dispose()
  expect(addon().counters().scenes).toBe(1)
  model.dispose()
  expect(addon().counters().scenes).toBe(0)
})

it('lets prompts on scenes of the same image share a pass', async () => {
  await load(10 * bytes)
  const scenes = [await model.encode(image), await model.encode(image)]
  await scenes[0]!.segment(prompts)
  const { free } = await holdDevice(model, 80)
  const before = model.stats().decode.passes
  await Promise.all(scenes.map((scene) => scene.segment(prompts)))
  await free
  expect(model.stats().decode.passes).toBe(before + 1)
  for (const scene of scenes) scene.dispose()
})

it.each([[-1], [1.5], ['1']])('sceneCacheBytes %s is refused', async (sceneCacheBytes) => {
  await load(0)
  const options = { sceneCacheBytes: sceneCacheBytes as number }
  await expect(SegSam.load(bundle, options)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
})

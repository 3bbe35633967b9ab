import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Model, ModelStats } from '../binding.js'
import { addon } from '../lib/addon.js'
import { type LoadOptions, type MedicalImage, type Scene, SegSam } from '../lib/index.js'
import { devicesSchema, Replicas } from '../lib/replicas.js'
import { statsOf } from '../lib/stats.js'
import { bundle, copiedBundle, discImage, forgeFile, untrainedBundle } from './fixture.js'
import { holdDevice } from './held-device.js'

const image = discImage(120, 90)
const other: MedicalImage = { ...image, data: image.data.map((value) => 255 - value) }
const prompts = [{ box: [30, 20, 90, 70] }, { points: [{ x: 40, y: 40 }] }] as const
const twoDevices = { device: ['cpu', 'cpu'], precision: 'fp32' } as const

let one: SegSam
let two: SegSam
/** The first on the first device, the second on the second. */
let scenes: [Scene, Scene]
let expected: Scene

beforeAll(async () => {
  one = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32' })
  two = await SegSam.load(bundle, twoDevices)
  expected = await one.encode(image)
  scenes = [await two.encode(image), await two.encode(image)]
})
afterAll(() => {
  one.dispose()
  two.dispose()
  expect(addon().counters()).toMatchObject({ models: 0, queued: 0 })
})

/** Images that each device has encoded, and prompts that it has decoded. */
function done(model: SegSam) {
  const { devices } = model.stats()
  return { encoded: devices.map(({ encode }) => encode.items), decoded: devices.map(({ decode }) => decode.items) }
}

async function disposed(scene: Promise<Scene>) {
  ;(await scene).dispose()
}

describe('work is spread', () => {
  it('over the devices in turn, whether calls wait together or come one after the other', async () => {
    using model = await SegSam.load(bundle, twoDevices)
    await Promise.all(Array.from({ length: 6 }, () => disposed(model.encode(image))))
    expect(done(model).encoded).toEqual([3, 3])
    for (let i = 0; i < 2; i++) await disposed(model.encode(image))
    expect(done(model).encoded).toEqual([4, 4])
  })

  it('to the device with the fewest jobs, decodes among them', async () => {
    await scenes[0].segment(prompts)
    const before = done(two).encoded
    const { free } = await holdDevice(one)
    const decodes = Array.from({ length: 5 }, () => scenes[0].segment(prompts))
    await turn()
    const encodes = Array.from({ length: 3 }, () => disposed(two.encode(image)))
    await Promise.all([...decodes, ...encodes, free])
    expect(done(two).encoded).toEqual([before[0], before[1]! + 3])
  })

  it('and jobs that have ended or failed count no longer', async () => {
    using model = await SegSam.load(bundle, twoDevices)
    const scene = await model.encode(image)
    await Promise.all(Array.from({ length: 3 }, () => scene.segment(prompts)))
    const { free } = await holdDevice(one)
    const late = Array.from({ length: 3 }, () => scene.segment(prompts, { timeout: 1 }))
    const outcomes = await Promise.allSettled(late)
    expect(outcomes.map(({ status }) => status)).toEqual(Array(3).fill('rejected'))
    await free
    await Promise.all(Array.from({ length: 4 }, () => disposed(model.encode(image))))
    expect(done(model).encoded).toEqual([3, 2])
  })

  it('and what is on a device stays there: scenes, and what the cache gives again', async () => {
    using model = await SegSam.load(bundle, { ...twoDevices, sceneCacheBytes: 2 ** 24 })
    const first = await model.encode(image)
    const second = await model.encode(other)
    const again = [await model.encode(other), await model.encode(image)]
    expect(model.stats().cache).toMatchObject({ hits: 2, misses: 2, scenes: 2 })
    expect(done(model)).toEqual({ encoded: [1, 1], decoded: [0, 0] })
    await second.segment([prompts[0]])
    expect(done(model).decoded).toEqual([0, 1])
    const [hit] = await again[0]!.segment([prompts[0]])
    expect(done(model).decoded).toEqual([0, 2])
    await again[1]!.segment([prompts[0]])
    expect(done(model).decoded).toEqual([1, 2])
    expect(await second.segment([prompts[0]])).toEqual([hit])
    expect(await first.segment([prompts[0]])).not.toEqual([hit])
  })
})

describe('answers are those of one device, on each of the two', () => {
  const each = async <T>(ask: (scene: Scene) => Promise<T>) => {
    const before = done(two).decoded
    const answers = await Promise.all(scenes.map(ask))
    expect(answers[0]).toEqual(await ask(expected))
    expect(answers[1]).toEqual(answers[0])
    const after = done(two).decoded
    expect(after.map((count, i) => count > before[i]!)).toEqual([true, true])
    return answers[0]!
  }

  it('masks, names, chosen classes and cards of the caller', async () => {
    const hits = await each((scene) => scene.segment(prompts))
    expect(hits[0]!.candidates.length).toBeGreaterThan(0)
    await each((scene) => scene.segment(prompts, { classes: ['ring', 'bar'], multimask: false }))
    const blob = { id: 'blob', name: 'Blob', description: 'Round. Dark.' }
    const named = await each((scene) => scene.segment(prompts, { classes: ['ring', blob] }))
    expect([named[0]!.label, ...named[0]!.candidates].map((label) => label?.id)).toContain('blob')
  })

  it('the whole image, what is present, and sessions', async () => {
    const loose = { pointsPerSide: 3, predIouThresh: 0, stabilityScoreThresh: 0 }
    const objects = await each(async (scene) => {
      const found = await scene.segmentEverything(loose)
      return found.map(({ mask, label, predictedIou }) => ({ mask, label, predictedIou }))
    })
    expect(objects.length).toBeGreaterThan(0)
    await each(async (scene) => (await scene.labelMap(loose)).data)
    await each((scene) => scene.present({ pointsPerSide: 2, threshold: 0 }))
    await each(async (scene) => {
      const session = scene.session()
      await session.addPoint({ x: 40, y: 40 })
      return session.setBox([30, 20, 90, 70])
    })
  })

  it('from the pixels, crops on both devices', async () => {
    const before = done(two).encoded
    const options = { cropNLayers: 1, pointsPerSide: 2, predIouThresh: 0, stabilityScoreThresh: 0 }
    const map = await two.labelMap(image, options)
    expect(map.data).toEqual((await one.labelMap(image, options)).data)
    const after = done(two).encoded
    expect(after.map((count, i) => count - before[i]!).toSorted()).toEqual([2, 3])
  })

  it('classes that are defined, replaced and removed', async () => {
    const blob = { id: 'blob', name: 'Blob', description: 'Round. Dark.' }
    for (const model of [one, two]) await model.defineClass(blob)
    const names = async (scene: Scene) => {
      const [hit] = await scene.segment(prompts)
      return [hit!.label, ...hit!.candidates].filter((label) => label !== null)
    }
    const defined = await each(names)
    expect(defined.map(({ id }) => id)).toContain('blob')
    for (const model of [one, two]) await model.defineClass({ ...blob, name: 'Spot' }, { replace: true })
    expect(await each(names)).not.toEqual(defined)
    for (const model of [one, two]) model.removeClass('blob')
    expect((await each(names)).map(({ id }) => id)).not.toContain('blob')
  })

  it('of a scene that was saved on one device and restored on the other', async () => {
    const saved = await scenes[0].save()
    expect(await scenes[1].save()).toEqual(saved)
    const { free } = await holdDevice(one)
    const decodes = Array.from({ length: 3 }, () => scenes[0].segment(prompts))
    await turn()
    const before = two.stats().devices.map(({ memory }) => memory.scenes)
    using restored = await two.restore(saved)
    expect(two.stats().devices.map(({ memory }) => memory.scenes)).toEqual([before[0], before[1]! + 1])
    await Promise.all([...decodes, free])
    expect(await restored.segment(prompts)).toEqual(await expected.segment(prompts))
  })

  it('in a bundle that names nothing', async () => {
    const folder = await untrainedBundle()
    using alone = await SegSam.load(folder, { device: 'cpu', precision: 'fp32' })
    using both = await SegSam.load(folder, twoDevices)
    const answer = await (await alone.encode(image)).segment(prompts)
    for (let i = 0; i < 2; i++) expect(await (await both.encode(image)).segment(prompts)).toEqual(answer)
    expect(done(both).decoded).toEqual([2, 2])
  })
})

describe('a full queue', () => {
  it('is that of each device', async () => {
    using model = await SegSam.load(bundle, { ...twoDevices, maxQueue: 1 })
    const { free } = await holdDevice(one)
    const calls = Array.from({ length: 3 }, () => disposed(model.encode(image)))
    const outcomes = await Promise.allSettled(calls)
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected'])
    expect(outcomes[2]).toMatchObject({ reason: { code: 'QUEUE_FULL' } })
    expect(model.stats().jobs).toMatchObject({ done: 2, rejected: 1 })
    await free
  })
})

describe('stats', () => {
  it('sum the devices, and list them', async () => {
    using model = await SegSam.load(bundle, twoDevices)
    const first = await model.encode([image, other])
    await model.encode(image)
    await first[0]!.segment([prompts[0]])
    const { devices, cache, ...total } = model.stats()
    expect(cache.limitBytes).toBe(0)
    expect(devices).toMatchObject([
      {
        device: 'cpu',
        jobs: { done: 2 },
        encode: { passes: 1, items: 2 },
        decode: { items: 1 },
        memory: { scenes: 2 },
      },
      {
        device: 'cpu',
        jobs: { done: 1 },
        encode: { passes: 1, items: 1 },
        decode: { items: 0 },
        memory: { scenes: 1 },
      },
    ])
    const { bytes } = first[0]!
    const weightBytes = devices[0]!.memory.weightBytes + devices[1]!.memory.weightBytes
    expect(total).toMatchObject({
      jobs: { done: 3 },
      encode: { passes: 2, items: 3, meanSize: 1.5 },
      decode: { passes: 1, items: 1 },
      memory: { scenes: 3, sceneBytes: 3 * bytes, weightBytes },
    })
  })

  it('take every count from all devices, and times from the slowest', () => {
    const native = (k: number): ModelStats => {
      const times = (from: number) => ({ mean: from * k, p50: 2 * k, p95: 3 * k, p99: 4 * k })
      const runs = { runs: k, jobs: 2 * k, items: 3 * k, wait: times(1), run: times(2) }
      const [done, failed, aborted, expired, rejected] = [k, 2 * k, 3 * k, 4 * k, 5 * k]
      const memory = { weightBytes: 6 * k, scenes: 7 * k, sceneBytes: 8 * k }
      const queued = { interactive: 9 * k, batch: 10 * k }
      return { queued, running: k, done, failed, aborted, expired, rejected, encode: runs, decode: runs, ...memory }
    }
    const cache = { hits: 0, misses: 0, evicted: 0, scenes: 0, bytes: 0, limitBytes: 0 }
    const stats = statsOf(
      [1, 10, 100].map((k) => ({ device: `cuda:${k}`, stats: native(k) })),
      cache,
      3,
    )
    const wait = { mean: 100, p50: 200, p95: 300, p99: 400 }
    const passes = { passes: 111, items: 333, meanSize: 3, wait, run: { ...wait, mean: 200 } }
    expect(stats).toMatchObject({
      queued: { interactive: 999, batch: 1110 },
      running: 111,
      preparing: 3,
      jobs: { done: 111, failed: 222, aborted: 333, expired: 444, rejected: 555 },
      encode: passes,
      decode: passes,
      memory: { weightBytes: 666, scenes: 777, sceneBytes: 888 },
      cache,
    })
    expect(stats.devices.map(({ device, running }) => [device, running])).toEqual([
      ['cuda:1', 1],
      ['cuda:10', 10],
      ['cuda:100', 100],
    ])
  })

  it('of one device list that one', () => {
    const { devices, cache: _cache, preparing: _preparing, ...total } = one.stats()
    expect(devices).toEqual([{ device: 'cpu', ...total }])
  })
})

describe('loading', () => {
  it('tells the devices, and gives one text encoder to all', async () => {
    expect(two.info).toMatchObject({ device: 'cpu, cpu', precision: 'fp32' })
    expect(one.info.device).toBe('cpu')
    using list = await SegSam.load(bundle, { device: ['cpu'] })
    expect(list.info.device).toBe('cpu')
    const [first, second] = two.stats().devices.map(({ memory }) => memory.weightBytes)
    expect(first).toBe(one.stats().memory.weightBytes)
    expect(second).toBeGreaterThan(0)
    expect(second).toBeLessThan(first!)
  })

  it.each<[string, unknown]>([
    ['an empty list', []],
    ['17 devices', Array(17).fill('cpu')],
    ['an unknown device', ['cpu', 'gpu']],
    ['a list in a list', ['cpu', ['cpu']]],
    ['one text for two', 'cpu,cpu'],
  ])('%s is refused', async (_, device) => {
    await expect(SegSam.load(bundle, { device } as LoadOptions)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/^device is .*'cuda:N', or a list of 1 to 16/s),
    })
  })

  it('takes 16 devices', () => {
    expect(devicesSchema.parse(Array(16).fill('cuda:15'))).toHaveLength(16)
  })

  it('that fails on one device names it, and leaves nothing on the others', async () => {
    const { models } = addon().counters()
    for (const [device, place] of [
      [['cpu', 'cuda:99'], 1],
      [['cuda:99', 'cpu', 'cpu'], 0],
    ] as const) {
      await expect(SegSam.load(bundle, { device })).rejects.toMatchObject({
        name: 'SegSamError',
        code: 'DEVICE_UNAVAILABLE',
        message: expect.stringContaining(`device[${place}] (cuda:99): `),
      })
      expect(addon().counters().models).toBe(models)
    }
    const folder = await copiedBundle()
    await forgeFile(folder, 'text_encoder.pt', 'nothing')
    await expect(SegSam.load(folder, twoDevices)).rejects.toMatchObject({
      code: 'BUNDLE_INVALID',
      message: expect.stringMatching(/^device\[0\] \(cpu\): /),
    })
    expect(addon().counters().models).toBe(models)
  })

  it('that is given up rejects with the reason, and leaves nothing', async () => {
    const { models } = addon().counters()
    const controller = new AbortController()
    const reason = new Error('enough')
    // Longer than the bundle is read and checked, also where other tests keep the cores busy.
    const { free } = await holdDevice(one, 1600)
    let isFree = false
    const freed = free.then(() => {
      isFree = true
    })
    const pending = SegSam.load(bundle, { ...twoDevices, signal: controller.signal })
    while (addon().counters().queued < 2 && !isFree) await turn()
    expect(addon().counters().queued).toBe(2)
    controller.abort(reason)
    await expect(pending).rejects.toBe(reason)
    await freed
    await disposed(one.encode(image))
    await turn()
    expect(addon().counters().models).toBe(models)
  })

  it('on devices that would take different precisions is refused, and leaves nothing', async () => {
    const gone: string[] = []
    const precisions = { cpu: 'bf16', 'cuda:0': 'bf16', 'cuda:1': 'fp16' } as const
    const load = async (device: keyof typeof precisions) =>
      ({ device, precision: precisions[device], dispose: () => gone.push(device) }) as unknown as Model
    const loaded = Replicas.load(['cpu', 'cuda:0', 'cuda:1'], (device) => load(device as 'cpu'))
    await expect(loaded).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/bf16 on cpu and fp16 on cuda:1.*'fp32'/),
    })
    expect(gone).toEqual(['cpu', 'cuda:0', 'cuda:1'])
    expect((await Replicas.load(['cpu', 'cuda:0'], (device) => load(device as 'cpu'))).device).toBe('cpu, cuda:0')
  })
})

describe('dispose', () => {
  it('frees every device; calls on the model and on scenes of each reject afterwards', async () => {
    const { models } = addon().counters()
    const model = await SegSam.load(bundle, { ...twoDevices, sceneCacheBytes: 2 ** 24 })
    expect(addon().counters().models).toBe(models + 2)
    const left = [await model.encode(image), await model.encode(other)]
    const saved = await left[0]!.save()
    expect(model.disposed).toBe(false)
    model[Symbol.dispose]()
    model.dispose()
    expect(model.disposed).toBe(true)
    expect(addon().counters().models).toBe(models)
    expect(model.stats().memory).toMatchObject({ weightBytes: 0, scenes: 2 })
    const gone = { code: 'DISPOSED' }
    await expect(model.encode(image)).rejects.toMatchObject(gone)
    await expect(model.restore(saved)).rejects.toMatchObject(gone)
    for (const scene of left) {
      await expect(scene.segment(prompts)).rejects.toMatchObject(gone)
      scene.dispose()
    }
    expect(model.stats().memory.scenes).toBe(0)
  })
})

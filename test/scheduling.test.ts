import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addon } from '../lib/addon.js'
import { type EncodeOptions, type Scene, SegSam, type SegSamError } from '../lib/index.js'
import { bundle, discImage } from './fixture.js'
import { holdDevice } from './held-device.js'

const image = discImage(120, 90)
let model: SegSam
let scene: Scene

beforeAll(async () => {
  model = await SegSam.load(bundle, { device: 'cpu', maxEncodeBatch: 1 })
  scene = await model.encode(image)
  await scene.segment([{ box: [1, 1, 50, 50] }])
})
afterAll(() => {
  model.dispose()
  expect(addon().counters().queued).toBe(0)
})

const encode = (options: EncodeOptions) => model.encode(image, options).then((each) => each.dispose())

describe('a call', () => {
  it('with a timeout may share its signal with many others without a warning of a leak', async () => {
    const warnings: Error[] = []
    const note = (warning: Error) => warnings.push(warning)
    process.on('warning', note)
    const { signal } = new AbortController()
    await Promise.all(Array.from({ length: 20 }, () => encode({ signal, timeout: 60_000 })))
    await turn()
    process.off('warning', note)
    expect(warnings).toEqual([])
  })

  it('rejects with the reason of its signal, even where that is an error of this package', async () => {
    const reason = await encode({ timeout: 1e-6 }).catch((error: SegSamError) => error)
    expect(reason).toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    const controller = new AbortController()
    const { free } = await holdDevice(model)
    const call = encode({ signal: controller.signal })
    controller.abort(reason)
    await expect(call).rejects.toBe(reason)
    await free
  })

  it('that looks at the whole image stops between masks, too, not at the next batch only', async () => {
    const controller = new AbortController()
    const before = model.stats().decode.passes
    const looking = scene.segmentEverything({
      pointsPerSide: 8,
      pointsPerBatch: 64,
      predIouThresh: 0,
      stabilityScoreThresh: 0,
      diceThresh: 0,
      signal: controller.signal,
    })
    while (model.stats().decode.passes === before || model.stats().running > 0) await turn()
    controller.abort(new Error('enough'))
    await expect(looking).rejects.toThrow('enough')
  })
})

describe('priority', () => {
  it('interactive calls go before batch ones, which have every fifth run', async () => {
    const { free } = await holdDevice(model)
    const order: string[] = []
    const calls: Promise<unknown>[] = []
    for (let i = 0; i < 3; i++) calls.push(encode({ priority: 'batch' }).then(() => order.push('b')))
    for (let i = 0; i < 6; i++) calls.push(encode({ priority: 'interactive' }).then(() => order.push('i')))
    expect(model.stats().queued).toEqual({ interactive: 6, batch: 3 })
    await Promise.all([...calls, free])
    expect(order.join('')).toBe('iiiibiibb')
  })

  it('is interactive where none is said, and holds for all that decodes', async () => {
    const { free } = await holdDevice(model)
    const calls = [
      scene.segment([{ box: [1, 1, 50, 50] }]),
      scene.segment([{ box: [1, 1, 50, 50] }], { priority: 'batch' }),
      scene.segmentEverything({ pointsPerSide: 1, priority: 'batch' }),
      scene.labelMap({ pointsPerSide: 1, priority: 'batch' }),
      scene.present({ pointsPerSide: 1, priority: 'batch' }),
      scene.session().addPoint({ x: 5, y: 5 }, { priority: 'batch' }),
    ]
    for (let i = 0; i < 3; i++) await turn()
    expect(model.stats().queued).toEqual({ interactive: 1, batch: 5 })
    await Promise.all([...calls, free])
  })

  it.each([['high'], [1], [null]])('%s is refused', async (priority) => {
    const refused = { code: 'INVALID_ARGUMENT', message: expect.stringMatching(/'interactive' or 'batch'/) }
    await expect(encode({ priority } as unknown as EncodeOptions)).rejects.toMatchObject(refused)
  })
})

describe('timeout', () => {
  it('drops what waits, tells the limit, and leaves the rest', async () => {
    const before = model.stats().jobs
    const { free } = await holdDevice(model)
    const results = await Promise.allSettled([
      encode({ timeout: 1 }),
      scene.segment([{ box: [1, 1, 50, 50] }], { timeout: 1 }),
      encode({ timeout: 600_000 }),
    ])
    const late = { code: 'DEADLINE_EXCEEDED', message: expect.stringMatching(/timeout of 1 ms.*stats\(\)/) }
    expect(results.slice(0, 2).map((result) => 'reason' in result && result.reason)).toMatchObject([late, late])
    expect(results[2]!.status).toBe('fulfilled')
    await free
    expect(model.stats().jobs).toMatchObject({
      expired: before.expired + 2,
      aborted: before.aborted,
      done: before.done + 2,
    })
  })

  it('holds in the queue when the event loop stands still, too', async () => {
    const before = model.stats()
    const { free } = await holdDevice(model, 1)
    const follower = model.encode(Array.from({ length: 8 }, () => image))
    const late = encode({ timeout: 1 })
    while (model.stats().running + model.stats().queued.interactive > 0); // no timer can fire
    await expect(late).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    for (const each of await follower) each.dispose()
    await free
    expect(model.stats().jobs.expired).toBe(before.jobs.expired + 1)
  })

  it('of a call that runs gives the caller the error and keeps nothing', async () => {
    const { scenes } = addon().counters()
    const large = discImage(512, 512)
    const images = Array.from({ length: 32 }, () => large)
    await expect(model.encode(images, { timeout: 1 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    await encode({})
    await turn()
    expect(addon().counters().scenes).toBe(scenes)
  })

  it('leaves `signal` working', async () => {
    const { free } = await holdDevice(model)
    const controller = new AbortController()
    const pending = encode({ timeout: 600_000, signal: controller.signal })
    const reason = new Error('enough')
    controller.abort(reason)
    await expect(pending).rejects.toBe(reason)
    await free
  })

  it.each([[0], [-1], [Number.NaN], ['1'], [Number.POSITIVE_INFINITY], [2 ** 31]])('%s is refused', async (timeout) => {
    await expect(encode({ timeout } as EncodeOptions)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

describe('maxQueue', () => {
  it('a call beyond it fails at once, with the length, the limit and what to do', async () => {
    const limited = await SegSam.load(bundle, { device: 'cpu', maxQueue: 2 })
    const { free } = await holdDevice(limited)
    const first = limited.encode(image)
    const second = limited.encode(image, { priority: 'batch' })
    const refused: SegSamError = await limited.encode(image).catch((error) => error)
    expect(limited.stats().queued).toEqual({ interactive: 1, batch: 1 })
    expect(refused.code).toBe('QUEUE_FULL')
    expect(refused.message).toMatch(/2 jobs wait, and at most 2 may.*later.*maxQueue/)
    for (const each of await Promise.all([first, second])) each.dispose()
    await free
    expect(limited.stats().jobs.rejected).toBe(1)
    const later = await limited.encode(image)
    expect(later.width).toBe(120)
    limited.dispose()
  })

  it('does not stop a call half way that has been let in', async () => {
    const limited = await SegSam.load(bundle, { device: 'cpu', maxQueue: 1 })
    const encoded = await limited.encode(image)
    const calls = Array.from({ length: 4 }, async () => {
      const points = await encoded
        .segmentEverything({ pointsPerSide: 3, pointsPerBatch: 1 })
        .catch((error) => error.code)
      return points === 'QUEUE_FULL' ? 'refused' : 'ended'
    })
    const outcomes = await Promise.all(calls)
    expect(outcomes).toContain('ended')
    expect(limited.stats().jobs.done - 1).toBe(9 * outcomes.filter((outcome) => outcome === 'ended').length)
    limited.dispose()
  })

  it.each([[0], [1.5], ['2']])('%s is refused', async (maxQueue) => {
    const load = SegSam.load(bundle, { maxQueue: maxQueue as number })
    await expect(load).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

describe('stats', () => {
  it('count what was asked for', async () => {
    const fresh = await SegSam.load(bundle, { device: 'cpu' })
    const none = fresh.stats()
    expect(none.jobs).toEqual({ done: 0, failed: 0, aborted: 0, expired: 0, rejected: 0 })
    expect(none.encode).toMatchObject({ passes: 0, meanSize: 0, wait: { mean: 0, p50: 0, p95: 0, p99: 0 } })
    expect(none.memory).toMatchObject({ scenes: 0, sceneBytes: 0 })
    expect(none.memory.weightBytes).toBeGreaterThan(0)

    const [one, two] = (await fresh.encode([image, image])) as [Scene, Scene]
    await one.segment([{ box: [1, 1, 50, 50] }, { box: [2, 2, 50, 50] }, { points: [{ x: 1, y: 1 }] }])
    two.dispose()
    const stats = fresh.stats()
    expect(stats.jobs.done).toBe(2)
    expect(stats.encode).toMatchObject({ passes: 1, items: 2, meanSize: 2 })
    expect(stats.decode).toMatchObject({ passes: 1, items: 3, meanSize: 3 })
    expect(stats.memory).toMatchObject({ scenes: 1, sceneBytes: one.bytes })
    const { mean, p50, p95, p99 } = stats.encode.run
    expect(mean).toBeGreaterThan(0)
    expect([p50, p95, p99]).toEqual([mean, mean, mean])
    expect(JSON.parse(JSON.stringify(stats))).toEqual(stats)

    fresh.dispose()
    expect(fresh.stats().memory.weightBytes).toBe(0)
    expect(fresh.stats().jobs.done).toBe(2)
  })

  it('tell of the class cards that first calls wait for, and that nobody needs to wait for twice', async () => {
    using fresh = await SegSam.load(bundle, { device: 'cpu' })
    using scene = await fresh.encode(image)
    expect(fresh.stats().preparing).toBe(0)
    const box = { box: [1, 1, 50, 50] as const }
    const first = Promise.all([scene.segment([box]), scene.segment([box])])
    expect(fresh.stats()).toMatchObject({ preparing: 4, queued: { interactive: 0 }, running: 0 })
    await first
    expect(fresh.stats().preparing).toBe(0)

    const second = scene.segment([box])
    expect(fresh.stats().preparing).toBe(0)
    await second
    const chosen = scene.segment([box], { classes: ['ring', 'bar'] })
    // Both were embedded for the first call.
    expect(fresh.stats().preparing).toBe(0)
    await chosen

    const defined = fresh.defineClass({ id: 'blob', name: 'Blob', description: 'Round.' })
    expect(fresh.stats().preparing).toBe(1)
    await defined
    const refused = scene.segment([box], { classes: [{ id: 'spot', name: 'Spot', description: 'Small.' }] })
    fresh.dispose()
    await expect(refused).rejects.toThrow()
    expect(fresh.stats().preparing).toBe(0)
  })
})

import { getEventListeners } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addon } from '../lib/addon.js'
import { type Scene, SegSam } from '../lib/index.js'
import { bundle, discImage } from './fixture.js'

const image = discImage(120, 90)
let model: SegSam
let scene: Scene

beforeAll(async () => {
  model = await SegSam.load(bundle, { device: 'cpu' })
  scene = await model.encode(image)
})
afterAll(() => model.dispose())

describe('a signal', () => {
  it('that is aborted already stops every call before it starts', async () => {
    const reason = new Error('enough')
    const signal = AbortSignal.abort(reason)
    await expect(SegSam.load(bundle, { signal })).rejects.toBe(reason)
    await expect(model.encode(image, { signal })).rejects.toBe(reason)
    await expect(scene.segment([{ box: [1, 1, 50, 50] }], { signal })).rejects.toBe(reason)
  })

  it('without a reason of its own gives an AbortError, as everywhere', async () => {
    await expect(model.encode(image, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' })
  })

  it('drops what waits in the queue and lets the rest go on', async () => {
    const controller = new AbortController()
    const first = model.encode(image)
    const dropped = Array.from({ length: 20 }, () => model.encode(image, { signal: controller.signal }))
    const last = model.encode(image)
    const reason = { any: 'value' }
    controller.abort(reason)
    const kept = 2
    expect(addon().counters().queued).toBeLessThanOrEqual(kept)
    for (const result of await Promise.allSettled(dropped)) expect(result).toEqual({ status: 'rejected', reason })
    for (const each of await Promise.all([first, last])) each.dispose()
    expect(addon().counters().queued).toBe(0)
  })

  it('frees the scenes of encodes that end after the abort', async () => {
    const before = addon().counters().scenes
    const controller = new AbortController()
    const pending = model.encode([image, image], { signal: controller.signal })
    await new Promise((resolve) => setTimeout(resolve, 5))
    controller.abort()
    await Promise.allSettled([pending])
    const follower = await model.encode(image)
    follower.dispose()
    await pending.then((scenes) => scenes.forEach((each) => void each.dispose())).catch(() => {})
    expect(addon().counters().scenes).toBe(before)
  })

  it('may be shared by many calls at once without a warning of a leak', async () => {
    const warnings: Error[] = []
    const note = (warning: Error) => warnings.push(warning)
    process.on('warning', note)
    const { signal } = new AbortController()
    const scenes = await Promise.all(Array.from({ length: 20 }, () => model.encode(image, { signal })))
    for (const each of scenes) each.dispose()
    process.off('warning', note)
    expect(warnings).toEqual([])
  })

  it('is left without listeners, whatever the outcome', async () => {
    const controller = new AbortController()
    const { signal } = controller
    const encoded = await model.encode(image, { signal })
    await encoded.segment([{ box: [1, 1, 50, 50] }, { points: [{ x: 1, y: 1 }] }], { signal })
    encoded.dispose()
    await expect(encoded.segment([{ box: [1, 1, 50, 50] }], { signal })).rejects.toMatchObject({ code: 'DISPOSED' })
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
    const pending = model.encode(image, { signal })
    controller.abort()
    await Promise.allSettled([pending])
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it('aborted in between leaves `out` alone once the promise has settled', async () => {
    const controller = new AbortController()
    const out = new Uint8Array(3 * 120 * 90)
    const pending = scene.segment([{ box: [1, 1, 50, 50] }], { signal: controller.signal, out })
    await new Promise((resolve) => setImmediate(resolve))
    controller.abort()
    await Promise.allSettled([pending])
    out.fill(7)
    await scene.segment([{ box: [1, 1, 50, 50] }])
    expect(out.every((value) => value === 7)).toBe(true)
  })
})

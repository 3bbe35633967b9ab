import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SegSam } from '../lib/index.js'
import { bundle } from './fixture.js'
import { holdDevice } from './held-device.js'
import { volumeOf } from './volume-fixture.js'

const volume = volumeOf([24, 20, 3])
const prompts = [{ slice: 0, box: [4, 4, 16, 14] as [number, number, number, number] }]

let model: SegSam
beforeEach(async () => {
  model = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32', maxQueue: 1 })
})
afterEach(() => model.dispose())

/** Both calls, stopped or refused in the same ways. */
const calls = {
  segmentVolume: (options: { signal?: AbortSignal; onProgress?: () => void }) =>
    model.segmentVolume(volume, prompts, { ...options, threshold: -1000 }),
  labelVolume: (options: { signal?: AbortSignal; onProgress?: () => void }) =>
    model.labelVolume(volume, { ...options, pointsPerSide: 1 }),
}

describe.each(Object.entries(calls))('%s', (_, call) => {
  it('stops when its signal says so, and frees its scenes', async () => {
    const controller = new AbortController()
    let steps = 0
    const onProgress = () => {
      steps++
      controller.abort(new Error('enough'))
    }
    await expect(call({ signal: controller.signal, onProgress })).rejects.toThrow('enough')
    expect(steps).toBe(1)
    expect(model.stats().memory).toMatchObject({ scenes: 0, sceneBytes: 0 })
  })

  it('is refused while the queue is full, and frees its scenes', async () => {
    // Embeds the classes, so that the next call comes to the queue at once.
    await call({})
    // One job runs, one waits: the queue holds no more.
    const { free } = await holdDevice(model)
    const waiting = model.encode(volume.slice('z', 0))
    await expect(call({})).rejects.toMatchObject({ code: 'QUEUE_FULL' })
    const scene = await waiting
    scene.dispose()
    await free
    expect(model.stats()).toMatchObject({ memory: { scenes: 0 }, queued: { interactive: 0, batch: 0 } })
    expect(model.stats().jobs.rejected).toBe(1)
  })
})

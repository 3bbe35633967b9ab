import { setImmediate as turn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { addon } from '../../lib/addon.js'
import { SegSam } from '../../lib/index.js'
import { bundle, discImage } from '../fixture.js'

const SIDE = 256
const image = discImage(SIDE, SIDE)
const prompts = [{ box: [30, 20, 90, 70] }, { points: [{ x: 40, y: 40 }] }] as const

const gc = global.gc!

async function collected() {
  for (let i = 0; i < 5; i++) {
    gc()
    await turn()
  }
}

/** After a collection: what JavaScript holds, and what the process holds, allocators included. */
async function memory() {
  await collected()
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage()
  return { javascript: heapUsed + arrayBuffers, rss }
}

it('a thousand rounds of encode and segment do not grow memory', async () => {
  const model = await SegSam.load(bundle, { device: 'cpu' })
  const javascript: Sample[] = []
  const rss: Sample[] = []
  for (let round = 0; round <= 1000; round++) {
    const scene = await model.encode(image)
    await scene.segment(prompts)
    scene.dispose()
    if (round >= 200 && round % 50 === 0) {
      const held = await memory()
      javascript.push([round, held.javascript])
      rss.push([round, held.rss])
    }
  }
  expect(addon().counters()).toMatchObject({ models: 1, scenes: 0, queued: 0, sceneBytes: 0 })

  const smallestBufferOfARound = SIDE * SIDE
  expect(slope(javascript)).toBeLessThan(smallestBufferOfARound / 32)
  expect(slope(rss)).toBeLessThan(smallestBufferOfARound / 2)
  model.dispose()
  await collected()
  expect(addon().counters()).toEqual({ models: 0, scenes: 0, queued: 0, sceneBytes: 0 })
})

it('scenes and models that nobody disposes are freed by the collector', async () => {
  await (async () => {
    const model = await SegSam.load(bundle, { device: 'cpu' })
    for (let round = 0; round < 20; round++) await (await model.encode(image)).segment(prompts)
  })()
  await collected()
  await collected()
  expect(addon().counters()).toEqual({ models: 0, scenes: 0, queued: 0, sceneBytes: 0 })
})

it('errors and aborted jobs leave nothing behind', async () => {
  const model = await SegSam.load(bundle, { device: 'cpu' })
  for (let round = 0; round < 200; round++) {
    const controller = new AbortController()
    const pending = [1, 2, 3].map(() => model.encode(image, { signal: controller.signal }))
    if (round % 2) await turn()
    controller.abort()
    for (const result of await Promise.allSettled(pending)) if (result.status === 'fulfilled') result.value.dispose()
    const scene = await model.encode(image)
    await expect(scene.segment([])).rejects.toThrow()
    scene.dispose()
    await expect(scene.segment(prompts)).rejects.toThrow()
  }
  expect(addon().counters()).toMatchObject({ models: 1, scenes: 0, queued: 0, sceneBytes: 0 })
  model.dispose()
})

type Sample = [round: number, bytes: number]

/** Least squares, in bytes a round. */
function slope(samples: Sample[]): number {
  const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length
  const [meanRound, meanBytes] = [mean(samples.map(([round]) => round)), mean(samples.map(([, bytes]) => bytes))]
  const covariance = mean(samples.map(([round, bytes]) => (round - meanRound) * (bytes - meanBytes)))
  return covariance / mean(samples.map(([round]) => (round - meanRound) ** 2))
}

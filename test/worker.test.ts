import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect, it } from 'vitest'
import { type Hit, SegSam } from '../lib/index.js'
import { bundle, discImage } from './fixture.js'

const image = discImage(120, 90)
const prompt = { box: [30, 20, 90, 70] } as const

function start(data: object): Worker {
  return new Worker(new URL('worker/segment.mjs', import.meta.url), { workerData: { bundle, image, prompt, ...data } })
}

async function segmentHere(): Promise<Hit> {
  const model = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32' })
  const [hit] = (await (await model.encode(image)).segment([prompt])) as [Hit]
  model.dispose()
  return hit
}

it('several workers and the main thread give the same result at once, and end by themselves', async () => {
  const fromWorkers = [1, 2, 3].map(async () => {
    const worker = start({})
    const [message, [code]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')])
    expect(code).toBe(0)
    return message[0]
  })
  const here = await segmentHere()
  for (const result of await Promise.all(fromWorkers)) {
    expect(result).toEqual({ mask: here.mask.data, predictedIou: here.predictedIou, refused: 'INVALID_PROMPT' })
  }
})

it('a worker can be terminated in the middle of an encode, again and again, without harm to the rest', async () => {
  for (let round = 0; round < 5; round++) {
    const worker = start({ endless: true })
    await once(worker, 'message')
    await worker.terminate()
  }
  expect((await segmentHere()).mask).toMatchObject({ width: 120, height: 90 })
})

it('a worker can be terminated while the addon raises an error there', async () => {
  for (let round = 0; round < 20; round++) {
    const worker = new Worker(new URL('worker/refused.mjs', import.meta.url))
    await once(worker, 'message')
    expect(await worker.terminate()).toBe(1)
  }
})

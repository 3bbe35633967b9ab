import { setImmediate as turn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { SegSam } from '../lib/index.js'
import { bundle, discImage } from './fixture.js'

it('the event loop keeps turning while images are encoded and prompts decoded', async () => {
  const model = await SegSam.load(bundle, { device: 'cpu' })
  const turnsDuring = async <T>(job: Promise<T>): Promise<[T, number]> => {
    let turns = 0
    let isPending = true
    const watched = job.finally(() => {
      isPending = false
    })
    while (isPending) {
      await turn()
      turns++
    }
    return [await watched, turns]
  }

  const image = discImage(1024, 1024)
  const [scenes, encodeTurns] = await turnsDuring(model.encode(Array.from({ length: 64 }, () => image)))
  expect(encodeTurns).toBeGreaterThan(20)
  const prompts = Array.from({ length: 64 }, (_, i) => ({ points: [{ x: 16 * i, y: 512 }] }))
  const [hits, segmentTurns] = await turnsDuring(scenes[0]!.segment(prompts, { multimask: false }))
  expect(hits).toHaveLength(64)
  expect(segmentTurns).toBeGreaterThan(20)
  model.dispose()
})

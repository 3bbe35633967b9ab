import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Hit, type Prompt, type Scene, type SegmentOptions, SegSam } from '../lib/index.js'
import { bundle, discImage } from './fixture.js'
import { holdDevice } from './held-device.js'

const [WIDTH, HEIGHT] = [120, 90]
const image = discImage(WIDTH, HEIGHT)
let model: SegSam
let scene: Scene

beforeAll(async () => {
  // In bf16 a sum that another order rounds otherwise may end a whole step of bf16 away.
  model = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32', maxEncodeBatch: 4, maxDecodeBatch: 8 })
  scene = await model.encode(image)
  await scene.segment([{ box: [1, 1, 50, 50] }])
})
afterAll(() => model.dispose())

interface Caller {
  prompts: Prompt[]
  options?: SegmentOptions
}

/** What each caller gets while nobody else calls. */
async function alone(callers: Caller[]): Promise<Hit[][]> {
  const hits = []
  for (const { prompts, options } of callers) hits.push(await scene.segment(prompts, options))
  return hits
}

/** All call while the device is busy; resolves when it is done with them, to the passes that it took. */
async function together<T>(call: () => Promise<T>[]): Promise<{ results: PromiseSettledResult<T>[]; passes: number }> {
  const { free } = await holdDevice(model)
  const before = model.stats()
  const results = await Promise.allSettled(call())
  await free
  const after = model.stats()
  const passes = after.decode.passes - before.decode.passes + after.encode.passes - before.encode.passes - 1
  return { results, passes }
}

function expectSame(hits: Hit[], expected: Hit[]) {
  expect(hits).toHaveLength(expected.length)
  for (const [i, hit] of hits.entries()) {
    expect(hit.masks).toHaveLength(expected[i]!.masks.length)
    expectClose(hit.logits, expected[i]!.logits)
    expectClose(hit.semanticLogits!, expected[i]!.semanticLogits!)
    expect(hit.predictedIou).toBeCloseTo(expected[i]!.predictedIou, 5)
    expect(hit.candidates.map(({ id }) => id)).toEqual(expected[i]!.candidates.map(({ id }) => id))
    const differing = hit.mask.data.filter((value, at) => value !== expected[i]!.mask.data[at])
    expect(differing.length).toBeLessThanOrEqual(2)
  }
}

function expectClose(values: Float32Array, expected: Float32Array) {
  const greatest = values.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0)
  expect(greatest).toBeLessThan(1e-4)
}

const boxes = Array.from({ length: 6 }, (_, i): Caller => ({ prompts: [{ box: [5 + 3 * i, 4, 60 + 5 * i, 80 - i] }] }))

describe('prompts of different callers', () => {
  it('on one scene share a pass, and give what each gives alone', async () => {
    const callers = [
      ...boxes,
      { prompts: [{ points: [{ x: 30, y: 40 }] }], options: { multimask: false } },
      { prompts: [{ points: [{ x: 60, y: 45 }] }], options: { threshold: 0.5 } },
    ]
    const expected = await alone(callers)
    const { results, passes } = await together(() =>
      callers.map(({ prompts, options }) => scene.segment(prompts, options)),
    )
    expect(passes).toBe(1)
    for (const [i, result] of results.entries())
      expectSame((result as PromiseFulfilledResult<Hit[]>).value, expected[i]!)
  })

  it('make passes of at most maxDecodeBatch', async () => {
    const { passes } = await together(() => [...boxes, ...boxes, ...boxes].map(({ prompts }) => scene.segment(prompts)))
    expect(passes).toBe(3)
  })

  it('of another form or with other classes get passes of their own', async () => {
    const { passes } = await together(() => [
      scene.segment([{ box: [5, 5, 60, 60] }]),
      scene.segment([{ box: [5, 5, 60, 60], points: [{ x: 20, y: 20 }] }]),
      scene.segment([{ box: [5, 5, 60, 60] }], { priority: 'batch' }),
    ])
    expect(passes).toBe(3)
  })

  it('keep their own signal, timeout and `out`', async () => {
    const [expected] = (await alone([boxes[0]!])) as [Hit[]]
    const [outs, controller] = [[0, 1, 2].map(() => new Uint8Array(3 * WIDTH * HEIGHT).fill(9)), new AbortController()]
    const { results, passes } = await together(() => {
      const calls = [
        scene.segment(boxes[0]!.prompts, { out: outs[0]! }),
        scene.segment(boxes[1]!.prompts, { out: outs[1]!, signal: controller.signal }),
        scene.segment(boxes[2]!.prompts, { out: outs[2]!, timeout: 1 }),
        scene.segment(boxes[0]!.prompts),
      ]
      setImmediate(() => controller.abort('enough'))
      return calls
    })
    expect(passes).toBe(1)
    expect(results[1]).toEqual({ status: 'rejected', reason: 'enough' })
    expect(results[2]).toMatchObject({ status: 'rejected', reason: { code: 'DEADLINE_EXCEEDED' } })
    for (const out of outs.slice(1)) expect(out.every((value) => value === 9)).toBe(true)
    const [first, last] = [results[0], results[3]].map((result) => (result as PromiseFulfilledResult<Hit[]>).value)
    expectSame(first!, expected)
    expectSame(last!, expected)
    expect(first![0]!.masks[0]!.mask.data.buffer).toBe(outs[0]!.buffer)
  })
})

it('encodes of different callers share a pass up to maxEncodeBatch, each with its own scenes', async () => {
  const sizes = [120, 64, 200, 90, 33]
  const { results, passes } = await together(() => sizes.map((size) => model.encode(discImage(size, 90))))
  expect(passes).toBe(2)
  for (const [i, result] of results.entries()) {
    const encoded = (result as PromiseFulfilledResult<Scene>).value
    expect(encoded.width).toBe(sizes[i])
    const own = await model.encode(discImage(sizes[i]!, 90))
    expectSame(await encoded.segment([{ box: [2, 2, 30, 60] }]), await own.segment([{ box: [2, 2, 30, 60] }]))
    for (const each of [encoded, own]) each.dispose()
  }
})

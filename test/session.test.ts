import { getEventListeners } from 'node:events'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { PromptBatch } from '../binding.js'
import type { Manifest } from '../lib/bundle.js'
import type { ClassBook } from '../lib/classes.js'
import { type Hit, type Path, type Prompt, Scene, SegSam, Session, type SessionLog } from '../lib/index.js'
import { lassoLogits } from '../lib/lasso.js'
import type { PlacedScene } from '../lib/replicas.js'
import { scribblePoints } from '../lib/scribble.js'
import { anyOrigin, bundle, discImage } from './fixture.js'

const [width, height] = [60, 45]
let model: SegSam
let scene: Scene

beforeAll(async () => {
  model = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32' })
  scene = await model.encode(discImage(width, height))
})
afterAll(() => model.dispose())

const inside = { x: 30, y: 22 }
const outside = { x: 3, y: 4, label: 0 } as const
const box = [15, 10, 45, 35] as const
const otherBox = [5, 5, 30, 40] as const
const lasso: Path = [
  [20, 8],
  [44, 20],
  [30, 40],
]
const scribble = {
  path: [
    [20, 20],
    [40, 22],
    [40, 30],
  ] as Path,
}

/** What the model says to a prompt given by hand. */
async function segmented(prompt: Prompt, multimask: boolean): Promise<Hit> {
  const [hit] = await scene.segment([prompt], { multimask })
  return hit!
}

function lassoMask(): Float32Array {
  const { imageSize, maskSize, resizeMode } = model.info
  return lassoLogits(lasso, { width, height, imageSize, maskSize, resizeMode })!
}

function expectSame(actual: Hit | null, expected: Hit | null) {
  expect(actual === null).toBe(expected === null)
  if (!actual || !expected) return
  expect(actual.masks.length).toBe(expected.masks.length)
  expect(Buffer.compare(actual.mask.data, expected.mask.data)).toBe(0)
  expect(Buffer.compare(actual.semanticMask!.data, expected.semanticMask!.data)).toBe(0)
  expect(actual.logits).toEqual(expected.logits)
  expect(actual.semanticLogits).toEqual(expected.semanticLogits)
  expect(actual.predictedIou).toBe(expected.predictedIou)
}

function written(session: Session): SessionLog {
  return JSON.parse(JSON.stringify(session))
}

describe('a session asks the model', () => {
  it('for three masks of a lone click, then for one mask with the logits of the best', async () => {
    const session = scene.session()
    const first = await session.addPoint(inside)
    expect(first.masks).toHaveLength(3)
    expectSame(first, await segmented({ points: [inside] }, true))

    const second = await session.addPoint(outside)
    const both = [inside, outside]
    expectSame(second, await segmented({ points: both, mask: first.logits }, false))
    expect(second.logits).not.toEqual((await segmented({ points: both }, false)).logits)
    expect(session.hit).toBe(second)

    const third = await session.setBox(box)
    expectSame(third, await segmented({ points: both, box, mask: second.logits }, false))
    expect(session.prompt).toEqual({ points: [{ ...inside, label: 1 }, outside], box, mask: second.logits })
  })

  it('for one mask of a box', async () => {
    expectSame(await scene.session().setBox(box), await segmented({ box }, false))
  })

  it('afresh where something is taken back or replaced', async () => {
    const session = scene.session()
    await session.addPoint(inside)
    await session.addPoint(outside)
    expectSame(await session.removePoint(0), await segmented({ points: [outside] }, true))
    await session.setBox(box)
    expectSame(await session.setBox(otherBox), await segmented({ points: [outside], box: otherBox }, false))
    expectSame(await session.removeBox(), await segmented({ points: [outside] }, true))
    expect(await session.removePoint(0)).toBeNull()
    expect(session.hit).toBeNull()
    expect(session.prompt).toBeNull()
    expectSame(await session.addPoint(inside), await segmented({ points: [inside] }, true))
  })

  it('with the clicks of its scribbles after the others', async () => {
    const session = scene.session()
    const first = await session.addScribble(scribble)
    const strokes = scribblePoints({ ...scribble, label: 1 }, { width, height })
    expect(strokes.length).toBeGreaterThan(2)
    expectSame(first, await segmented({ points: strokes }, false))
    const second = await session.addPoint(outside)
    expectSame(second, await segmented({ points: [outside, ...strokes], mask: first.logits }, false))
    const background = {
      path: [
        [3, 3],
        [3, 20],
      ] as Path,
      label: 0,
    } as const
    const third = await session.addScribble(background)
    const all = [outside, ...strokes, ...scribblePoints(background, { width, height })]
    expect(all.at(-1)!.label).toBe(0)
    expectSame(third, await segmented({ points: all, mask: second.logits }, false))
    expectSame(
      await session.removeScribble(0),
      await segmented({ points: [outside, ...scribblePoints(background, { width, height })] }, false),
    )
  })

  it('with the box and the mask of a lasso, then with the logits so far', async () => {
    const session = scene.session()
    const around = [20, 8, 44, 40] as const
    const first = await session.setLasso(lasso)
    expectSame(first, await segmented({ box: around, mask: lassoMask() }, false))
    expect(first.logits).not.toEqual((await segmented({ box: around }, false)).logits)
    const second = await session.addPoint(inside)
    expectSame(second, await segmented({ box: around, points: [inside], mask: first.logits }, false))
    const third = await session.setBox(box)
    expectSame(third, await segmented({ box, points: [inside], mask: second.logits }, false))
    expectSame(await session.removePoint(0), await segmented({ box, mask: lassoMask() }, false))
    expectSame(await session.removeLasso(), await segmented({ box }, false))
  })

  it('with the mask of a lasso in place of the logits so far', async () => {
    const session = scene.session()
    await session.addPoint(inside)
    await session.addPoint(outside)
    const expected = { points: [inside, outside], box: [20, 8, 44, 40] as const, mask: lassoMask() }
    expectSame(await session.setLasso(lasso), await segmented(expected, false))
  })

  it('in SAM’s order: clicks, scribbles, then the corners of the box or a padding point', async () => {
    const batches: PromptBatch[] = []
    const background = { expand: () => undefined }
    const native = {
      width,
      height,
      disposed: false,
      decode: async (batch: PromptBatch, _: unknown, { multimask }: { multimask: boolean }) => {
        batches.push(batch)
        const count = multimask ? 3 : 1
        return {
          masksPerPrompt: count,
          masks: background,
          logits: new Float32Array(count * 4).fill(batches.length),
          iou: new Float32Array(count),
          semanticMasks: background,
          semanticLogits: new Float32Array(4),
          agreement: new Float32Array(count),
          classProbabilities: new Float32Array(2),
          presence: new Float32Array(1),
        }
      },
    } as unknown as PlacedScene
    const manifest = { mask_size: 2, image_size: 8, resize_mode: 'longest', semantic: 'untrained' } as Manifest
    const book = { select: async () => ({ cards: [], vectors: {} }) } as unknown as ClassBook
    const session = new Scene(native, manifest, book, anyOrigin).session()
    await session.addScribble({ path: [[7, 7]], label: 0 })
    await session.addPoint({ x: 1, y: 2 })
    await session.setBox([3, 4, 5, 6])
    expect(batches.map(({ points }) => Array.from(points))).toEqual([
      [7, 7, 0, 0],
      [1, 2, 7, 7, 0, 0],
      [1, 2, 7, 7, 3, 4, 5, 6],
    ])
    expect(batches.map(({ labels }) => Array.from(labels))).toEqual([
      [0, -1],
      [1, 0, -1],
      [1, 0, 2, 3],
    ])
    expect(batches.map(({ masks }) => masks?.[0])).toEqual([undefined, 1, 2])
  })

  it('with the threshold and the classes it was given', async () => {
    const card = { id: 'blob', name: 'Blob', description: 'Bright. It has no holes.' }
    const classes = [model.classes[0]!, 'ring', card]
    const session = scene.session({ threshold: 0.05, classes })
    const hit = await session.addPoint(inside)
    const [expected] = await scene.segment([{ points: [inside] }], { threshold: 0.05, classes })
    expectSame(hit, expected!)
    expect(session.log).toMatchObject({ threshold: 0.05, classes: ['disc_left', 'ring', { id: 'blob' }] })
    expectSame((await Session.replay(scene, written(session))).hit, hit)
  })
})

describe('undo and redo', () => {
  it('go back and forth between the very hits that were there', async () => {
    const session = scene.session()
    expect([session.canUndo, session.canRedo]).toEqual([false, false])
    const first = await session.addPoint(inside)
    const second = await session.setBox(box)
    expect(await session.undo()).toBe(first)
    expect(session.marks).toEqual({ points: [{ ...inside, label: 1 }], scribbles: [], box: null, lasso: null })
    expect(await session.undo()).toBeNull()
    expect([session.canUndo, session.canRedo]).toEqual([false, true])
    expect(await session.redo()).toBe(first)
    expect(await session.redo()).toBe(second)
    expect([session.canUndo, session.canRedo]).toEqual([true, false])
  })

  it('need no decoder', async () => {
    const own = await model.encode(discImage(width, height))
    const session = own.session()
    const first = await session.addPoint(inside)
    await session.addPoint(outside)
    own.dispose()
    expect(await session.undo()).toBe(first)
    await expect(session.setBox(box)).rejects.toMatchObject({ code: 'DISPOSED' })
    expect(session.hit).toBe(first)
    expect(session.canRedo).toBe(true)
  })

  it('do nothing where there is nothing to do, and are not logged then', async () => {
    const session = scene.session()
    expect(await session.undo()).toBeNull()
    const hit = await session.addPoint(inside)
    expect(await session.redo()).toBe(hit)
    expect(session.log.steps.map(({ action }) => action)).toEqual(['addPoint'])
  })

  it('bring back what a reset removed; a new step ends what could be redone', async () => {
    const session = scene.session()
    const hit = await session.setBox(box)
    expect(await session.reset()).toBeNull()
    expect(session.marks).toEqual({ points: [], scribbles: [], box: null, lasso: null })
    expect(await session.undo()).toBe(hit)
    await session.addPoint(inside)
    expect(session.canRedo).toBe(false)
  })
})

type Call = (session: Session) => Promise<unknown>

/** Spread evenly; `fc.double` favours numbers near zero. */
const coordinate = (side: number) => fc.integer({ min: -5, max: 10 * side - 6 }).map((tenths) => tenths / 10)
const label = fc.constantFrom(0 as const, 1 as const)
const pair = fc.tuple(coordinate(width), coordinate(height))
const calls: fc.Arbitrary<Call> = fc.oneof(
  fc.tuple(pair, label).map(
    ([[x, y], label]): Call =>
      (session) =>
        session.addPoint({ x, y, label }),
  ),
  fc.tuple(fc.array(pair, { minLength: 1, maxLength: 5 }), label).map(
    ([path, label]): Call =>
      (session) =>
        session.addScribble({ path, label }),
  ),
  fc.tuple(pair, pair).map(
    ([[ax, ay], [bx, by]]): Call =>
      (session) => {
        return session.setBox([Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx) + 0.01, Math.max(ay, by) + 0.01])
      },
  ),
  fc.array(pair, { minLength: 3, maxLength: 6 }).map(
    (path): Call =>
      (session) =>
        session.setLasso(path),
  ),
  fc.nat(4).map(
    (index): Call =>
      (session) =>
        session.removePoint(index),
  ),
  fc.nat(2).map(
    (index): Call =>
      (session) =>
        session.removeScribble(index),
  ),
  fc.constant<Call>((session) => session.removeBox()),
  fc.constant<Call>((session) => session.removeLasso()),
  fc.constant<Call>((session) => session.reset()),
  { weight: 3, arbitrary: fc.constant<Call>((session) => session.undo()) },
  { weight: 2, arbitrary: fc.constant<Call>((session) => session.redo()) },
)

/** The hits that undo and redo reach, from the first to the last. */
async function reachable(session: Session): Promise<(Hit | null)[]> {
  while (session.canUndo) await session.undo()
  const hits = [session.hit]
  while (session.canRedo) hits.push(await session.redo())
  return hits
}

describe('whatever is done', () => {
  it('undo gives back what was there, and a replay of the log gives the same masks and the same history', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(calls, { maxLength: 12 }), async (sequence) => {
        const session = scene.session()
        for (const call of sequence) {
          const before = session.hit
          const { canUndo, canRedo, log } = session
          try {
            await call(session)
          } catch (error) {
            expect(error).toMatchObject({ name: 'SegSamError', code: 'INVALID_ARGUMENT' })
            expect(session.hit).toBe(before)
            expect([session.canUndo, session.canRedo, session.log]).toEqual([canUndo, canRedo, log])
            continue
          }
          const isNew = session.log.steps.length > log.steps.length && !/do$/.test(session.log.steps.at(-1)!.action)
          if (!isNew) continue
          const after = session.hit
          expect(await session.undo()).toBe(before)
          expect(await session.redo()).toBe(after)
        }
        const again = await Session.replay(scene, written(session))
        expect(again.log).toEqual(session.log)
        expect(again.marks).toEqual(session.marks)
        expectSame(again.hit, session.hit)
        const [hits, hitsAgain] = [await reachable(session), await reachable(again)]
        expect(hitsAgain).toHaveLength(hits.length)
        for (const [i, hit] of hits.entries()) expectSame(hitsAgain[i]!, hit)
      }),
      { numRuns: 25 },
    )
  })

  it('calls that are not awaited take effect one after the other', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(calls, { maxLength: 8 }), async (sequence) => {
        const [patient, hasty] = [scene.session(), scene.session()]
        const outcomes: PromiseSettledResult<unknown>[] = []
        for (const call of sequence) outcomes.push(...(await Promise.allSettled([call(patient)])))
        const together = await Promise.allSettled(sequence.map((call) => call(hasty)))
        expect(together.map(({ status }) => status)).toEqual(outcomes.map(({ status }) => status))
        expect(hasty.log).toEqual(patient.log)
        expectSame(hasty.hit, patient.hit)
      }),
      { numRuns: 15 },
    )
  })
})

describe('a call', () => {
  it('takes its arguments as they were when it was made', async () => {
    const session = scene.session()
    const point = { ...inside, label: 1 as 0 | 1 }
    const ring = lasso.map(([x, y]) => [x, y] as [number, number])
    const pending = [session.addPoint(point), session.setLasso(ring)]
    point.label = 0
    ring[0]![0] = 0
    ring.pop()
    await Promise.all(pending)
    expect(session.marks.points).toEqual([{ ...inside, label: 1 }])
    expect(session.marks.lasso).toEqual(lasso)
  })

  it('does not depend on what became of the hits and prompts handed out', async () => {
    const [session, other] = [scene.session(), scene.session()]
    for (const each of [session, other]) {
      await each.addPoint(inside)
      await each.addPoint(outside)
    }
    const { logits } = session.hit!
    structuredClone(logits.buffer, { transfer: [logits.buffer as ArrayBuffer] })
    const { mask } = session.prompt as { mask: Float32Array }
    structuredClone(mask.buffer, { transfer: [mask.buffer as ArrayBuffer] })
    expectSame(await session.setBox(box), await other.setBox(box))
  })

  it('given up while it waits or runs leaves the session as it was', async () => {
    const session = scene.session()
    const first = await session.addPoint(inside)
    const controller = new AbortController()
    const reason = new Error('enough')
    const running = session.addPoint(outside, { signal: controller.signal })
    const waiting = session.setBox(box, { signal: controller.signal })
    const last = session.setBox(otherBox)
    controller.abort(reason)
    await expect(running).rejects.toBe(reason)
    await expect(waiting).rejects.toBe(reason)
    expectSame(await last, await segmented({ points: [inside], box: otherBox, mask: first.logits }, false))
    expect(session.log.steps.map(({ action }) => action)).toEqual(['addPoint', 'setBox'])
    await expect(session.undo({ signal: controller.signal })).rejects.toBe(reason)
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0)
    await expect(Session.replay(scene, session.log, { signal: controller.signal })).rejects.toBe(reason)
  })

  it('given up while it waits does not let the next one overtake those before', async () => {
    const session = scene.session()
    const controller = new AbortController()
    const first = session.addPoint(inside)
    const waiting = session.addPoint(outside, { signal: controller.signal })
    const last = session.setBox(box)
    controller.abort()
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' })
    await last
    expectSame(session.hit, await segmented({ points: [inside], box, mask: (await first).logits }, false))
  })

  const refused: [string, Call, string, RegExp][] = [
    ['a point outside', (s) => s.addPoint({ x: 60, y: 1 }), 'INVALID_PROMPT', /^x of point is 60/],
    ['no point', (s) => s.addPoint(null as never), 'INVALID_PROMPT', /^point is null/],
    ['a point that is not there', (s) => s.removePoint(1), 'INVALID_ARGUMENT', /index is 1.*0 to 0/],
    ['a place that is no number', (s) => s.removePoint('0' as never), 'INVALID_ARGUMENT', /index is '0'/],
    ['a scribble that is not there', (s) => s.removeScribble(0), 'INVALID_ARGUMENT', /There are no scribbles/],
    ['a box upside down', (s) => s.setBox([9, 9, 1, 1]), 'INVALID_PROMPT', /^box is/],
    ['a box that is not there', (s) => s.removeBox(), 'INVALID_ARGUMENT', /no box/],
    [
      'a lasso of two points',
      (s) =>
        s.setLasso([
          [1, 1],
          [2, 2],
        ]),
      'INVALID_PROMPT',
      /^lasso is/,
    ],
    ['a lasso that is not there', (s) => s.removeLasso(), 'INVALID_ARGUMENT', /no lasso/],
    [
      'a scribble outside',
      (s) => s.addScribble({ path: [[1, 99]] }),
      'INVALID_PROMPT',
      /^y of scribble\.path\[0\] is 99/,
    ],
    ['an unknown option', (s) => s.undo({ steps: 2 } as never), 'INVALID_ARGUMENT', /'steps'/],
    ['no signal', (s) => s.undo({ signal: 1 } as never), 'INVALID_ARGUMENT', /signal is 1/],
  ]
  for (const [name, call, code, message] of refused) {
    it(`with ${name} is refused and changes nothing`, async () => {
      const session = scene.session()
      const hit = await session.addPoint(inside)
      await expect(call(session)).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
      expect(session.hit).toBe(hit)
      expect(session.log.steps).toHaveLength(1)
      expect(await session.undo()).toBeNull()
    })
  }

  it('is refused where the options of the session are wrong', () => {
    const code = 'INVALID_ARGUMENT'
    expect(() => scene.session({ threshold: Number.NaN })).toThrow(expect.objectContaining({ code }))
    expect(() => scene.session({ multimask: true } as never)).toThrow(expect.objectContaining({ code }))
    expect(() => scene.session({ classes: [] })).toThrow(expect.objectContaining({ code }))
    expect(() => scene.session({ classes: ['rings'] })).toThrow(expect.objectContaining({ code: 'UNKNOWN_CLASS' }))
  })
})

describe('a log', () => {
  it('holds what was done and nothing of the image', async () => {
    const session = scene.session()
    await session.addPoint(inside)
    await session.undo()
    await session.setLasso(lasso)
    expect(written(session)).toEqual({
      schema: 1,
      model: { name: 'micro', version: '0.1.0' },
      image: { width, height },
      threshold: 0,
      classes: null,
      steps: [
        { action: 'addPoint', point: { ...inside, label: 1 } },
        { action: 'undo' },
        { action: 'setLasso', lasso },
      ],
    })
  })

  it('is not changed by steps taken later, nor by whom it was given to', async () => {
    const session = scene.session()
    await session.addPoint(inside)
    const { log } = session
    await session.addPoint(outside)
    expect(log.steps).toHaveLength(1)
    expect(() => {
      ;(log.steps[0] as { point: { x: number } }).point.x = 0
    }).toThrow(TypeError)
    ;(log.steps as unknown[]).pop()
    log.model.name = 'other'
    expect(session.log.steps).toHaveLength(2)
    expect(session.log.model.name).toBe('micro')
  })

  const good = {
    schema: 1,
    model: { name: 'micro', version: '0.1.0' },
    image: { width, height },
    threshold: 0,
    classes: null,
  }
  const point = { action: 'addPoint', point: { x: 1, y: 1, label: 1 } }
  const bad: [string, unknown, RegExp, string?][] = [
    ['that is text', JSON.stringify({ ...good, steps: [] }), /JSON\.parse/],
    ['that is null', null, /^log is null/],
    ['without a schema', { steps: [] }, /^log\.schema is undefined/],
    ['of another schema', { ...good, schema: 2, steps: [] }, /^log\.schema is 2; allowed: 1/],
    ['without steps', good, /at steps/],
    ['with an unknown key', { ...good, steps: [], patient: 'x' }, /"patient"/],
    ['of another image', { ...good, image: { width: 9, height: 9 }, steps: [] }, /^log\.image is '9 x 9'.*60 x 45/],
    ['with an unknown step', { ...good, steps: [point, { action: 'fill' }] }, /at steps\[1\]\.action/],
    [
      'with text for a number',
      { ...good, steps: [point, { action: 'removePoint', index: '0' }] },
      /at steps\[1\]\.index/,
    ],
    ['with a key too many', { ...good, steps: [{ ...point, when: 1 }] }, /"when"[\s\S]*steps\[0\]/],
    [
      'without a label',
      { ...good, steps: [{ action: 'addPoint', point: { x: 1, y: 1 } }] },
      /steps\[0\]\.point\.label/,
    ],
    ['with a box of three', { ...good, steps: [{ action: 'setBox', box: [1, 2, 3] }] }, /steps\[0\]\.box/],
    ['with a class that is nothing', { ...good, classes: [7], steps: [] }, /classes\[0\]/],
    ['with an unknown class', { ...good, classes: ['rings'], steps: [] }, /rings/, 'UNKNOWN_CLASS'],
    [
      'with a point outside',
      { ...good, steps: [point, { action: 'addPoint', point: { x: 99, y: 1, label: 0 } }] },
      /^log\.steps\[1\] \(addPoint\): x of point is 99/,
      'INVALID_PROMPT',
    ],
    [
      'that removes what is not there',
      { ...good, steps: [point, { action: 'removePoint', index: 1 }] },
      /^log\.steps\[1\]/,
    ],
    ['that undoes nothing', { ...good, steps: [{ action: 'undo' }] }, /^log\.steps\[0\] \(undo\).*nothing to undo/],
    ['that redoes nothing', { ...good, steps: [point, { action: 'redo' }] }, /^log\.steps\[1\] \(redo\)/],
  ]
  for (const [name, log, message, code = 'INVALID_ARGUMENT'] of bad) {
    it(`${name} is refused`, async () => {
      await expect(Session.replay(scene, log as SessionLog)).rejects.toMatchObject({
        name: 'SegSamError',
        code,
        message: expect.stringMatching(message),
      })
    })
  }

  it('needs a scene', async () => {
    const log = scene.session().log
    await expect(Session.replay(null as never, log)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

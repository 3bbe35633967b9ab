import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Hit, type NewClassCard, type Scene, SegSam } from '../lib/index.js'
import { bundle, copiedBundle, discImage, editJson, untrainedBundle } from './fixture.js'

const box = { box: [15, 10, 45, 35] as const }
const blob = {
  id: 'blob',
  name: 'Blob',
  description: 'Bright and round. It lies in the middle, e.g. of a disc. No holes.',
}
let folder: string
let model: SegSam
let scene: Scene

async function load() {
  folder = await copiedBundle()
  await editJson(join(folder, 'manifest.json'), (manifest) => {
    manifest.semantic = 'trained'
  })
  model = await SegSam.load(folder, { device: 'cpu', precision: 'fp32' })
  scene = await model.encode(discImage(60, 45))
}

function ids(): string[] {
  return model.classes.map(({ id }) => id)
}

/** Classes of a hit with their probabilities, by id. */
async function ranked(target = scene): Promise<Record<string, number>> {
  const [hit] = (await target.segment([box], { multimask: false })) as [Hit]
  const labels = hit.label ? [hit.label, ...hit.candidates] : hit.candidates
  return Object.fromEntries(labels.map(({ id, probability }) => [id, probability]))
}

/** Equal but for the rounding of sentences that are embedded in another company. */
function expectClose(actual: Record<string, number>, expected: Record<string, number>) {
  expect(Object.keys(actual).toSorted()).toEqual(Object.keys(expected).toSorted())
  for (const [id, probability] of Object.entries(expected)) expect(actual[id], id).toBeCloseTo(probability, 5)
}

describe('a class that is defined', () => {
  beforeEach(load)
  afterEach(() => model.dispose())

  it('joins model.classes at the end, its description split into sentences, and cannot be changed there', async () => {
    const before = model.classes
    const card = await model.defineClass(blob)
    expect(card).toEqual({
      id: 'blob',
      name: 'Blob',
      sentences: ['Bright and round.', 'It lies in the middle, e.g. of a disc.', 'No holes.'],
    })
    expect(ids()).toEqual(['disc_left', 'disc_right', 'ring', 'bar', 'blob'])
    expect(model.classes.at(-1)).toBe(card)
    expect(before).toHaveLength(4)
    for (const frozen of [model.classes, card, card.sentences]) expect(Object.isFrozen(frozen)).toBe(true)
  })

  it('is named afterwards, on scenes from before as on new ones, as if it had been in the bundle', async () => {
    const without = await ranked()
    expect(Object.keys(without)).toHaveLength(4)
    const { sentences } = await model.defineClass({ ...blob, synonyms: ['spot'], codes: [{ scheme: 'X', value: '1' }] })
    const probabilities = await ranked()
    expect(Object.keys(probabilities).toSorted()).toEqual(ids().toSorted())
    expect(probabilities.ring).not.toBe(without.ring)
    expect(await ranked(await model.encode(discImage(60, 45)))).toEqual(probabilities)
    expect((await scene.segment([box], { classes: ['blob'] }))[0]!.masks).toHaveLength(3)

    await editJson(join(folder, 'classes.json'), ({ classes }) => {
      classes.push({ id: 'blob', name: 'Blob', synonyms: ['spot'], sentences })
    })
    using other = await SegSam.load(folder, { device: 'cpu', precision: 'fp32' })
    expectClose(await ranked(await other.encode(discImage(60, 45))), probabilities)
  })

  it('leaves calls alone that began before', async () => {
    const pending = ranked()
    await model.defineClass(blob)
    expect(Object.keys(await pending)).toHaveLength(4)
    expect(Object.keys(await ranked())).toHaveLength(5)
  })

  it('does not take the place of another unless told to', async () => {
    const original = model.classes[2]!
    const before = await ranked()
    const other = { id: 'ring', name: 'Annulus', sentences: ['It has a hole.'] }
    await expect(model.defineClass(other)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/'ring'.*replace: true/),
    })
    expect(model.classes[2]).toBe(original)
    expect(await ranked()).toEqual(before)

    await model.defineClass(other, { replace: true })
    expect(ids()).toEqual(['disc_left', 'disc_right', 'ring', 'bar'])
    expect(model.classes[2]).toEqual(other)
    expect((await ranked()).ring).not.toBe(before.ring)
    await model.defineClass(original, { replace: true })
    expectClose(await ranked(), before)
  })

  it('by two calls at once is one of theirs, and the other is refused', async () => {
    const results = await Promise.allSettled([
      model.defineClass({ ...blob, name: 'First' }),
      model.defineClass({ ...blob, name: 'Second' }),
    ])
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(ids().filter((id) => id === 'blob')).toHaveLength(1)
  })

  it('is not there where the call was given up', async () => {
    const reason = new Error('enough')
    await expect(model.defineClass(blob, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const controller = new AbortController()
    const pending = model.defineClass(blob, { signal: controller.signal })
    controller.abort(reason)
    await expect(pending).rejects.toBe(reason)
    await model.encode(discImage(60, 45))
    expect(ids()).not.toContain('blob')
  })

  it('in an untrained bundle is not named either', async () => {
    using untrained = await SegSam.load(await untrainedBundle(), { device: 'cpu' })
    await untrained.defineClass(blob)
    const [hit] = await (await untrained.encode(discImage(60, 45))).segment([box])
    expect(hit).toMatchObject({ label: null, labelReason: 'untrained', candidates: [] })
  })

  it('is used by a session from its next step on', async () => {
    const session = scene.session()
    await session.setBox(box.box)
    await model.defineClass(blob)
    const hit = await session.addPoint({ x: 30, y: 22 })
    expect([hit.label, ...hit.candidates].map((label) => label?.id)).toContain('blob')
  })
})

describe('a class that is removed', () => {
  beforeEach(load)
  afterEach(() => model.dispose())

  it('is not named any more, until it is defined again', async () => {
    const before = await ranked()
    const [disc] = model.classes
    model.removeClass('disc_left')
    expect(ids()).toEqual(['disc_right', 'ring', 'bar'])
    expect(Object.keys(await ranked()).toSorted()).toEqual(ids().toSorted())
    await expect(scene.segment([box], { classes: ['disc_left'] })).rejects.toMatchObject({ code: 'UNKNOWN_CLASS' })
    await model.defineClass(disc!)
    expectClose(await ranked(), before)
  })

  it('must be there, and must not be the last', () => {
    expect(() => model.removeClass('rings')).toThrow(
      expect.objectContaining({ code: 'UNKNOWN_CLASS', message: expect.stringContaining('Did you mean ring?') }),
    )
    for (const id of ids().slice(1)) model.removeClass(id)
    expect(() => model.removeClass('disc_left')).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    expect(ids()).toEqual(['disc_left'])
  })
})

describe('refused, and nothing changes', () => {
  beforeAll(async () => {
    model = await SegSam.load(bundle, { device: 'cpu' })
  })
  afterAll(() => model.dispose())

  const refused: [string, unknown, RegExp, unknown?][] = [
    ['what is no card', 'blob', /^the class is 'blob'; allowed: a class card\. .*description: /],
    ['nothing', undefined, /^the class is undefined; allowed: a class card/],
    ['a list', [blob], /^the class is \[.*allowed: a class card/],
    ['a card without a text', { id: 'blob', name: 'Blob' }, /^the class has neither sentences nor a description/],
    ['an empty description', { ...blob, description: ' ' }, /^description of the class is ' '; allowed: a text that/],
    ['a description of another type', { ...blob, description: 5 }, /^description of the class is 5; allowed: a text/],
    ['a card with both texts', { ...blob, sentences: ['Round.'] }, /has both sentences and a description/],
    [
      'a card without an id',
      { name: 'Blob', description: 'Round.' },
      /^id of the class is undefined; .*example, \{ id:/,
    ],
    [
      'a misspelt field',
      { id: 'blob', name: 'Blob', descripton: 'Round.' },
      /'descripton'.*Did you mean description\?$/,
    ],
    [
      'an unknown field',
      { ...blob, weight: 3 },
      /^a field of the class is 'weight'; allowed: id, name, synonyms, .*\.$/,
    ],
    ['a text where a list belongs', { ...blob, synonyms: 'spot' }, /^synonyms of the class is 'spot'; allowed: a list/],
    [
      'a code without a scheme',
      { ...blob, codes: [{ value: '1' }] },
      /^codes of the class .*\{ scheme, value, meaning\? \}/,
    ],
    ['an unknown option', blob, /overwrite/, { overwrite: true }],
    ['an option of another type', blob, /replace is 'yes'/, { replace: 'yes' }],
    ['a signal that is none', blob, /signal/, { signal: {} }],
    ['an id that label maps use', { ...blob, id: 'unknown' }, /^id of the class is 'unknown'; .*which label maps use/],
    ['the id for all classes of label maps', { ...blob, id: '*' }, /^id of the class is '\*'/],
  ]
  for (const [name, card, message, options] of refused) {
    it(name, async () => {
      await expect(model.defineClass(card as NewClassCard, options as object | undefined)).rejects.toMatchObject({
        name: 'SegSamError',
        code: 'INVALID_ARGUMENT',
        message: expect.stringMatching(message),
      })
      expect(ids()).toEqual(['disc_left', 'disc_right', 'ring', 'bar'])
    })
  }

  it('a model that has been disposed', async () => {
    const gone = await SegSam.load(bundle, { device: 'cpu' })
    gone.dispose()
    await expect(gone.defineClass(blob)).rejects.toMatchObject({ code: 'DISPOSED' })
  })

  it('a bundle without a text encoder: every class needs it', async () => {
    const broken = await copiedBundle()
    await editJson(join(broken, 'manifest.json'), (manifest) => {
      delete manifest.files['text_encoder.pt']
    })
    await expect(SegSam.load(broken)).rejects.toMatchObject({
      code: 'BUNDLE_INVALID',
      message: expect.stringContaining('text_encoder.pt'),
    })
  })
})

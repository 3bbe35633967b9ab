import { readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { addon } from '../lib/addon.js'
import {
  type EncodeOptions,
  type Hit,
  type MedicalImage,
  type Scene,
  type SegmentOptions,
  SegSam,
} from '../lib/index.js'
import { bundle, copiedBundle, discImage, editJson, forgeFile } from './fixture.js'

/*
 * Whatever comes in: a clear error, and the process goes on serving, which is checked after every test.
 */

const image = discImage(120, 90)
const prompts = [{ box: [30, 20, 90, 70] as const }]
let model: SegSam
let scene: Scene
let expected: Uint8Array

beforeAll(async () => {
  model = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32' })
  scene = await model.encode(image)
  expected = await segmented(scene)
})
afterAll(() => model.dispose())

afterEach(async () => {
  expect(await segmented(scene)).toEqual(expected)
  const fresh = await model.encode(image)
  expect(await segmented(fresh)).toEqual(expected)
  fresh.dispose()
})

async function segmented(target: Scene): Promise<Uint8Array> {
  const [hit] = (await target.segment(prompts)) as [Hit]
  return hit.mask.data
}

/** A module that fits its interface is found to be foreign only when it runs. */
async function used(folder: string): Promise<Hit[]> {
  const foreign = await SegSam.load(folder, { device: 'cpu' })
  return (await foreign.encode(image)).segment(prompts)
}

/** Node has it, TypeScript's ES2023 does not. */
const ResizableBuffer = ArrayBuffer as unknown as new (
  length: number,
  options: { maxByteLength: number },
) => ArrayBuffer & { resize(length: number): void }

function detach(view: ArrayBufferView<ArrayBuffer>) {
  structuredClone(view.buffer, { transfer: [view.buffer] })
}

describe('bundles', () => {
  const modules = ['encoder.pt', 'decoder.pt', 'text_encoder.pt']

  for (const name of modules) {
    it(`with a truncated ${name}`, async () => {
      const folder = await copiedBundle()
      await truncate(join(folder, name), 1000)
      await expect(SegSam.load(folder)).rejects.toMatchObject({ code: 'BUNDLE_TAMPERED' })
      await forgeFile(folder, name, (await readFile(join(bundle, name))).subarray(0, 1000))
      await expect(SegSam.load(folder)).rejects.toMatchObject({ code: 'BUNDLE_INVALID' })
    })

    it(`with one bit of ${name} turned`, async () => {
      const folder = await copiedBundle()
      const content = await readFile(join(folder, name))
      content[content.length >> 1]! ^= 1
      await writeFile(join(folder, name), content)
      await expect(SegSam.load(folder)).rejects.toMatchObject({ code: 'BUNDLE_TAMPERED' })
    })

    it(`with something else in the place of ${name}`, async () => {
      const folder = await copiedBundle()
      const other = modules[(modules.indexOf(name) + 1) % modules.length]!
      for (const content of ['', 'no module', await readFile(join(bundle, other))]) {
        await forgeFile(folder, name, content)
        await expect(used(folder)).rejects.toMatchObject({ code: expect.stringMatching(/^(BUNDLE_INVALID|RUNTIME)$/) })
      }
    })
  }

  it('for a device that this machine does not have', async () => {
    await expect(SegSam.load(bundle, { device: 'cuda:99' })).rejects.toMatchObject({
      name: 'SegSamError',
      code: 'DEVICE_UNAVAILABLE',
    })
  })

  it('whose manifest describes another model', async () => {
    for (const change of [{ image_size: 96 }, { mask_size: 7 }, { text_width: 3 }]) {
      const folder = await copiedBundle()
      await editJson(join(folder, 'manifest.json'), (manifest) => Object.assign(manifest, change))
      await expect(used(folder), JSON.stringify(change)).rejects.toMatchObject({
        code: expect.stringMatching(/^(BUNDLE_INVALID|RUNTIME)$/),
      })
    }
  })

  it('whose manifest allows longer sentences than the text encoder takes', async () => {
    const folder = await copiedBundle()
    await editJson(join(folder, 'manifest.json'), (manifest) => {
      manifest.text_length = 3000
    })
    const foreign = await SegSam.load(folder, { device: 'cpu' })
    const encoded = await foreign.encode(image)
    const card = { id: 'long', name: 'Long', sentences: ['round '.repeat(2000)] }
    await expect(encoded.segment(prompts, { classes: [card] })).rejects.toMatchObject({
      code: expect.stringMatching(/^(BUNDLE_INVALID|RUNTIME)$/),
    })
    expect(await encoded.segment(prompts)).toHaveLength(1)
  })
})

describe('images', () => {
  const refused: [string, unknown, EncodeOptions?][] = [
    ['nothing', undefined],
    ['a path', 'scan.png'],
    ['pixels alone', image.data],
    ['a buffer that is too short', { ...image, data: new Uint8Array(10) }],
    ['a buffer that is too long', { ...image, data: new Uint8Array(120 * 90 + 1) }],
    ['a list of numbers', { ...image, data: Array.from(image.data) }],
    ['64-bit floats', { ...image, data: new Float64Array(120 * 90) }],
    ['two channels', { ...image, channels: 2, data: new Uint8Array(2 * 120 * 90) }],
    ['no pixels', { data: new Uint8Array(0), width: 0, height: 0, channels: 1 }],
    ['sizes that overflow', { ...image, width: 2 ** 52, height: 2 ** 52 }],
    ['NaN pixels', { ...image, data: new Float32Array(120 * 90).fill(Number.NaN) }],
    ['a 1 x 1 image', { data: Uint8Array.of(7), width: 1, height: 1, channels: 1 }],
    ['a 20000 x 10 image', { data: new Uint8Array(200_000), width: 20_000, height: 10, channels: 1 }],
  ]
  for (const [name, input, options] of refused) {
    it(name, async () => {
      const expectedError = { name: 'SegSamError', code: 'INVALID_IMAGE' }
      await expect(model.encode(input as MedicalImage, options)).rejects.toMatchObject(expectedError)
      await expect(model.encode([image, input as MedicalImage])).rejects.toMatchObject({
        ...expectedError,
        message: expect.stringContaining('images[1]'),
      })
    })
  }

  it('a detached buffer', async () => {
    const detached = discImage(120, 90)
    detach(detached.data as Uint8Array<ArrayBuffer>)
    await expect(model.encode(detached)).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringMatching(/transferred/),
    })
    await expect(model.encode(detached, { borrow: true })).rejects.toMatchObject({ code: 'INVALID_IMAGE' })
  })

  it('a buffer that is detached after the call', async () => {
    const soonGone = discImage(120, 90)
    const pending = model.encode(soonGone)
    detach(soonGone.data as Uint8Array<ArrayBuffer>)
    expect(await segmented(await pending)).toEqual(expected)
  })

  it('borrowed, in a buffer that shrinks while it is read', async () => {
    const buffer = new ResizableBuffer(image.data.length, { maxByteLength: image.data.length })
    const data = new Uint8Array(buffer)
    data.set(image.data)
    const pending = model.encode({ ...image, data }, { borrow: true })
    buffer.resize(0)
    expect(await segmented(await pending)).toEqual(expected)
  })

  it('in shared memory are taken', async () => {
    const data = new Uint8Array(new SharedArrayBuffer(image.data.length))
    data.set(image.data)
    expect(await segmented(await model.encode({ ...image, data }))).toEqual(expected)
  })

  it('an empty list, and one with holes', async () => {
    await expect(model.encode([])).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(model.encode(new Array(1))).rejects.toMatchObject({
      code: 'INVALID_IMAGE',
      message: expect.stringMatching(/images\[0\] is undefined/),
    })
  })

  it('options that are none', async () => {
    for (const options of [null, 'borrow', { borrow: 1 }, { windw: [0, 1] }]) {
      await expect(model.encode(image, options as EncodeOptions), JSON.stringify(options)).rejects.toMatchObject({
        name: 'SegSamError',
        code: 'INVALID_ARGUMENT',
      })
    }
  })

  it('windows that are none', async () => {
    for (const window of [[1, 1], [5, 1], [0, Number.NaN], [0], 'wide', [0, Number.POSITIVE_INFINITY]]) {
      await expect(model.encode(image, { window: window as [number, number] })).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      })
    }
  })

  it('of one value everywhere are encoded all the same', async () => {
    for (const data of [new Uint8Array(900), new Uint16Array(900).fill(7), new Float32Array(900).fill(-3.5)]) {
      const flat = await model.encode({ data, width: 30, height: 30, channels: 1 })
      const [hit] = (await flat.segment([{ box: [2, 2, 20, 20] }])) as [Hit]
      expect(hit.logits.every(Number.isFinite)).toBe(true)
    }
  })

  it('of extreme but finite values are encoded all the same', async () => {
    const data = Float32Array.from({ length: 900 }, (_, i) => (i % 2 ? 3e38 : -3e38))
    const extreme = await model.encode({ data, width: 30, height: 30, channels: 1 })
    const [hit] = (await extreme.segment([{ box: [2, 2, 20, 20] }])) as [Hit]
    expect(hit.logits.every(Number.isFinite)).toBe(true)
  })
})

describe('prompts', () => {
  const refused: [string, unknown][] = [
    ['an empty list', []],
    ['a NaN coordinate', [{ points: [{ x: Number.NaN, y: 3 }] }]],
    ['a point outside the image', [{ points: [{ x: 120, y: 3 }] }]],
    ['a box outside the image', [{ box: [-5, 3, 20, 20] }]],
    ['a mask of another size', [{ mask: new Float32Array(3) }]],
  ]
  for (const [name, input] of refused) {
    it(name, async () => {
      await expect(scene.segment(input as typeof prompts)).rejects.toMatchObject({
        name: 'SegSamError',
        code: 'INVALID_PROMPT',
      })
    })
  }

  it('a mask that is detached after the call', async () => {
    const mask = new Float32Array(model.info.maskSize ** 2)
    const pending = scene.segment([{ mask }])
    detach(mask)
    expect(await pending).toHaveLength(1)
  })

  it('so many masks that no array would hold the bytes of all', async () => {
    const wide = await model.encode({ data: new Uint8Array(3000 * 3000), width: 3000, height: 3000, channels: 1 })
    const many = Array.from({ length: 160 }, () => ({ points: [{ x: 1, y: 1 }] }))
    const hits = await wide.segment(many)
    expect(hits).toHaveLength(160)
    expect(hits[159]!.masks[2]!.mask.area).toBe(hits[0]!.masks[2]!.mask.area)
    wide.dispose()
  })

  it('options that are none', async () => {
    for (const options of [
      null,
      ['liver'],
      { threshold: Number.NaN },
      { threshold: '0' },
      { multimask: 1 },
      { multimask_output: false },
      { signal: 'stop' },
    ]) {
      await expect(scene.segment(prompts, options as SegmentOptions), JSON.stringify(options)).rejects.toMatchObject({
        name: 'SegSamError',
        code: 'INVALID_ARGUMENT',
      })
    }
  })

  it('mask logits that overflow in the decoder, instead of empty masks that look like a finding', async () => {
    const mask = new Float32Array(model.info.maskSize ** 2).fill(3e38)
    await expect(scene.segment([{ mask }])).rejects.toMatchObject({
      code: 'RUNTIME',
      message: expect.stringMatching(/not finite/),
    })
  })

  it('a list with holes', async () => {
    await expect(scene.segment(new Array(2))).rejects.toMatchObject({
      code: 'INVALID_PROMPT',
      message: expect.stringMatching(/prompts\[0\] is undefined/),
    })
  })

  it('an `out` that is detached while the job runs', async () => {
    const twoKinds = [...prompts, { box: prompts[0]!.box, points: [{ x: 1, y: 1 }] }]
    for (const many of [prompts, twoKinds]) {
      const out = new Uint8Array(many.length * 3 * 120 * 90)
      const pending = scene.segment(many, { out })
      detach(out)
      await expect(pending).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    }
  })
})

describe('what has been disposed', () => {
  it('a scene', async () => {
    const gone = await model.encode(image)
    gone.dispose()
    gone.dispose()
    expect(gone.disposed).toBe(true)
    expect([gone.width, gone.height]).toEqual([120, 90])
    await expect(gone.segment(prompts)).rejects.toMatchObject({
      code: 'DISPOSED',
      message: expect.stringMatching(/Encode the image again/),
    })
  })

  it('a scene whose calls still run: they end as if nothing had been, then it is freed', async () => {
    const before = addon().counters().scenes
    const going = await model.encode(image)
    const twoKinds = [...prompts, { box: prompts[0]!.box, points: [{ x: 1, y: 1 }] }]
    const pending = Promise.all([segmented(going), going.segment(twoKinds)])
    going.dispose()
    expect(going.disposed).toBe(true)
    await expect(going.segment(prompts)).rejects.toMatchObject({ code: 'DISPOSED' })
    const [mask, hits] = await pending
    expect(mask).toEqual(expected)
    expect(hits[0]!.mask.data).toEqual(expected)
    expect(addon().counters().scenes).toBe(before)
  })

  it('a model, and the scenes it made', async () => {
    const own = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32' })
    const orphan = await own.encode(image)
    const pending = own.encode(image)
    own.dispose()
    own.dispose()
    expect(own.disposed).toBe(true)
    await expect(own.encode(image)).rejects.toMatchObject({
      code: 'DISPOSED',
      message: expect.stringMatching(/Load it again/),
    })
    await expect(orphan.segment(prompts)).rejects.toMatchObject({ code: 'DISPOSED' })
    await expect(pending).resolves.toBeDefined()
  })

  it('is disposed at the end of a `using` block', async () => {
    let scene: Scene
    {
      using scoped = await model.encode(image)
      scene = scoped
      expect(scene.disposed).toBe(false)
    }
    expect(scene.disposed).toBe(true)
  })
})

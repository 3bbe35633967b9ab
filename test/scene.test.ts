import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { addon } from '../lib/addon.js'
import {
  type EncodeOptions,
  type Hit,
  Mask,
  type MedicalImage,
  type Prompt,
  type Scene,
  SegSam,
  SegSamError,
} from '../lib/index.js'
import { bundle, copiedBundle, discImage, editJson, untrainedBundle } from './fixture.js'

const [width, height] = [120, 90]
let model: SegSam
let scene: Scene

beforeAll(async () => {
  model = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32' })
  scene = await model.encode(discImage(width, height))
})
afterAll(() => model.dispose())

const box: Prompt = { box: [30, 20, 90, 70] }
const click: Prompt = { points: [{ x: 60, y: 45 }] }
const clicks: Prompt = {
  points: [
    { x: 60, y: 45 },
    { x: 5, y: 5, label: 0 },
  ],
}
const boxAndClick: Prompt = { box: [30, 20, 90, 70], points: [{ x: 60, y: 45 }] }

/** Equal but for the rounding of sums that are taken in another order. */
function expectSame(actual: Hit, expected: Hit) {
  expect(maxDifference(actual.logits, expected.logits)).toBeLessThan(1e-4)
  expect(maxDifference(actual.semanticLogits!, expected.semanticLogits!)).toBeLessThan(1e-4)
  expect(actual.predictedIou).toBeCloseTo(expected.predictedIou, 4)
  expect(actual.masks).toHaveLength(expected.masks.length)
}

function maxDifference(a: Float32Array, b: Float32Array): number {
  expect(a).toHaveLength(b.length)
  return a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i]!)), 0)
}

describe('a hit', () => {
  it('holds masks of the size of the image, with area, box and the IoU of the two decoders', async () => {
    const [hit] = (await scene.segment([box], { multimask: false })) as [Hit]
    for (const mask of [hit.mask, hit.semanticMask!]) {
      expect(mask).toMatchObject({ width, height })
      expect(mask.data.every((value) => value === 0 || value === 1)).toBe(true)
    }
    expect(hit.agreement).toBeCloseTo(hit.mask.iou(hit.semanticMask!), 6)
    expect(Number.isFinite(hit.predictedIou)).toBe(true)
    expect(hit.logits).toHaveLength(model.info.maskSize ** 2)
    expect(hit.masks).toHaveLength(1)
    expect(hit.masks[0]!.mask).toBe(hit.mask)
  })

  it('has as its mask the low-resolution logits, upscaled and cut at the threshold', async () => {
    const manifest = model.info
    const lowLogits = (await scene.segment([click], { multimask: false }))[0]!.logits
    for (const threshold of [0, 0.01, -0.02]) {
      const hits = await scene.segment([box, click, { ...box, mask: lowLogits }], { threshold })
      const { maskSize, imageSize, resizeMode } = manifest
      const drawn = hits.flatMap(({ masks, semanticMask, semanticLogits }) => [
        ...masks,
        { mask: semanticMask!, logits: semanticLogits! },
      ])
      for (const { mask, logits } of drawn) {
        const upscaled = addon().upscaleLogits(logits, maskSize, width, height, imageSize, resizeMode)
        expect(mask.data).toEqual(Uint8Array.from(upscaled, (logit) => (logit > Math.fround(threshold) ? 1 : 0)))
      }
    }
  })

  it('has three masks by default, as in SAM’s predictor, and takes the one with the best predicted IoU', async () => {
    const [hit] = (await scene.segment([click])) as [Hit]
    expect(hit.masks).toHaveLength(3)
    const best = Math.max(...hit.masks.map(({ predictedIou }) => predictedIou))
    expect(hit.predictedIou).toBe(best)
    expect(hit.mask).toBe(hit.masks.find(({ predictedIou }) => predictedIou === best)!.mask)
    for (const { mask, agreement } of hit.masks) expect(agreement).toBeCloseTo(mask.iou(hit.semanticMask!), 6)
  })

  it('gives logits that are arrays of their own, the same at every reading, and can be cloned and assigned', async () => {
    const [hit, other] = await scene.segment([click, box])
    const best = hit!.masks.find(({ mask }) => mask === hit!.mask)!
    const cloned = structuredClone({ logits: hit!.masks[0]!.logits, semanticLogits: hit!.semanticLogits })
    expect(cloned).toEqual({ logits: hit!.masks[0]!.logits, semanticLogits: hit!.semanticLogits })
    expect(hit!.logits).toBe(best.logits)
    expect(hit!.logits).toBe(hit!.logits)
    expect(hit!.logits.buffer.byteLength).toBe(hit!.logits.byteLength)
    expect(Object.keys(other!)).toEqual(expect.arrayContaining(['logits', 'semanticLogits']))
    const [first, second] = [other!.masks[0]!.logits.slice(), new Float32Array(4)]
    other!.logits = second
    expect(other!.logits).toBe(second)
    structuredClone(hit!.logits, { transfer: [hit!.logits.buffer as ArrayBuffer] })
    expect(other!.masks[0]!.logits).toEqual(first)
  })

  it('gives masks whose bytes are the same at every reading, and can be cloned and transferred', async () => {
    const [hit, other] = await scene.segment([click, box])
    expect(Object.keys(hit!.mask)).toEqual(expect.arrayContaining(['width', 'height', 'data']))
    expect(hit!.mask.data).toBe(hit!.mask.data)
    expect(structuredClone(hit!.semanticMask)!.data).toEqual(hit!.semanticMask!.data)
    const [expected] = await scene.segment([box])
    structuredClone(hit!.mask.data, { transfer: [hit!.mask.data.buffer as ArrayBuffer] })
    expect(() => hit!.mask.toRLE()).toThrow(SegSamError)
    // Those that were not read yet are made in new memory.
    expect(other!.masks.map(({ mask }) => mask.data)).toEqual(expected!.masks.map(({ mask }) => mask.data))
    expect(other!.semanticMask!.data).toEqual(expected!.semanticMask!.data)
  })

  it('gives the bytes of each mask memory that no other has, whatever the order in which they are read', async () => {
    const hits = await scene.segment([click, box, click])
    const masks = hits.flatMap((hit) => [...hit.masks.map(({ mask }) => mask), hit.semanticMask!]).reverse()
    const copies = masks.map(({ data }) => data.slice())
    for (const mask of masks) expect(mask.data).toHaveLength(width * height)
    for (const { data } of masks) data.fill(7)
    expect(masks.every(({ data }) => data.every((value) => value === 7))).toBe(true)
    const again = await scene.segment([click, box, click])
    const expected = again.flatMap((hit) => [...hit.masks.map(({ mask }) => mask), hit.semanticMask!]).reverse()
    expect(copies).toEqual(expected.map(({ data }) => data))
  })

  it('measures masks that nobody has read as it does their bytes', async () => {
    using odd = await model.encode(discImage(117, 83))
    const hits = await odd.segment([box, clicks, click])
    const masks = hits.flatMap((hit) => [...hit.masks.map(({ mask }) => mask), hit.semanticMask!])
    const measured = (mask: Mask) => ({
      area: mask.area,
      bbox: mask.bbox,
      rle: mask.toRLE(),
      polygons: mask.toPolygons(),
    })
    const ofBits = masks.map(measured)
    expect(ofBits.filter(({ area }) => area > 0).length).toBeGreaterThan(6)
    const unread = masks.map((mask) => typeof Object.getOwnPropertyDescriptor(mask, 'data')!.get)
    expect(unread).toEqual(masks.map(() => 'function'))
    expect(masks.map(({ width, height, data }) => measured(new Mask(width, height, data)))).toEqual(ofBits)
    expect(masks.map(({ area, data }) => data.filter(Boolean).length - area)).toEqual(masks.map(() => 0))
  })

  it('gives masks that are measured by the bytes that they were assigned', async () => {
    const [hit] = await scene.segment([box])
    const { mask } = hit!
    const data = new Uint8Array(width * height)
    data[width + 1] = 1
    Object.assign(mask, { data })
    expect(mask.data).toBe(data)
    expect(mask).toMatchObject({ area: 1, bbox: [1, 1, 1, 1] })
    expect(mask.toRLE()).toEqual(new Mask(width, height, data).toRLE())
    expect(mask.toPolygons()).toHaveLength(1)
  })

  it('gives masks that are as they were when there was no memory for their bytes', async () => {
    const [hit] = await scene.segment([box])
    const { mask } = hit!
    const noMemory = new SegSamError('OUT_OF_MEMORY', 'no memory')
    const newBytes = vi.spyOn(addon(), 'newBytes').mockImplementation(() => {
      throw noMemory
    })
    try {
      expect(() => mask.data).toThrow(noMemory)
      expect(mask.area).toBeGreaterThan(0)
    } finally {
      newBytes.mockRestore()
    }
    expect(mask.data.filter(Boolean)).toHaveLength(mask.area)
  })

  it('gives masks that can be read when the scene is gone', async () => {
    const other = await model.encode(discImage(width, height))
    const [expected] = await other.segment([box])
    const data = [expected!.mask.data.slice(), expected!.semanticMask!.data.slice()]
    const [hit] = await other.segment([box])
    other.dispose()
    expect([hit!.mask.data, hit!.semanticMask!.data]).toEqual(data)
  })

  it('gives logits that refine the next prompt', async () => {
    const [first] = (await scene.segment([box], { multimask: false })) as [Hit]
    const [again, refined, maskAlone] = (await scene.segment(
      [box, { ...box, mask: first.logits }, { mask: first.logits }],
      { multimask: false },
    )) as [Hit, Hit, Hit]
    expectSame(again, first)
    expect(maxDifference(refined.logits, first.logits)).toBeGreaterThan(1e-3)
    expect(maskAlone.logits.every(Number.isFinite)).toBe(true)
  })
})

describe('several prompts', () => {
  it('give hits in their order, each as if it were alone', async () => {
    const prompts = [click, box, clicks, boxAndClick, { box: [0, 0, 50, 50] }, { points: [{ x: 1, y: 1 }] }] as Prompt[]
    const together = await scene.segment(prompts)
    expect(together).toHaveLength(prompts.length)
    for (const [i, prompt] of prompts.entries()) {
      const [alone] = (await scene.segment([prompt])) as [Hit]
      expectSame(together[i]!, alone)
    }
    const reversed = await scene.segment(prompts.toReversed())
    for (const [i, hit] of reversed.toReversed().entries()) expectSame(hit, together[i]!)
  })

  it('are not bound to the size of a batch', async () => {
    const many = Array.from(
      { length: 150 },
      (_, i): Prompt => ({ points: [{ x: (i * 7) % width, y: (i * 3) % height }] }),
    )
    const hits = await scene.segment(many, { multimask: false })
    for (const i of [0, 63, 64, 149]) {
      const [alone] = (await scene.segment([many[i]!], { multimask: false })) as [Hit]
      expectSame(hits[i]!, alone)
    }
  })
})

describe('images', () => {
  it('encoded in one batch give the scenes of single encodes, in order', async () => {
    const images = [discImage(120, 90), discImage(40, 200), discImage(33, 33)]
    const scenes = await model.encode(images)
    expect(scenes.map((each) => [each.width, each.height])).toEqual([
      [120, 90],
      [40, 200],
      [33, 33],
    ])
    for (const [i, image] of images.entries()) {
      const single = await model.encode(image)
      const prompt: Prompt = { points: [{ x: 16, y: 16 }] }
      const [[batched], [alone]] = (await Promise.all([scenes[i]!.segment([prompt]), single.segment([prompt])])) as [
        [Hit],
        [Hit],
      ]
      expectSame(batched, alone)
    }
  })

  it('are the same in 8 bit, 16 bit, float, gray, RGB and RGBA', async () => {
    const gray = discImage(width, height)
    const { data } = gray
    const variants = [
      { ...gray, data: Uint8ClampedArray.from(data) },
      { ...gray, data: Uint16Array.from(data), window: [0, 255] as const },
      { ...gray, data: Int16Array.from(data, (value) => value * 10 - 1000), window: [-1000, 1550] as const },
      { ...gray, data: Float32Array.from(data, (value) => value / 255), window: [0, 1] as const },
      {
        ...gray,
        data: Uint8Array.from({ length: 3 * data.length }, (_, i) => data[Math.floor(i / 3)]!),
        channels: 3 as const,
      },
      {
        ...gray,
        data: Uint8Array.from({ length: 4 * data.length }, (_, i) =>
          i % 4 === 3 ? i % 256 : data[Math.floor(i / 4)]!,
        ),
        channels: 4 as const,
      },
    ]
    const [expected] = (await scene.segment([box])) as [Hit]
    for (const { window, ...image } of variants as ((typeof variants)[number] & {
      window?: readonly [number, number]
    })[]) {
      const variant = await model.encode(image, window ? { window } : {})
      const [hit] = (await variant.segment([box])) as [Hit]
      expect(maxDifference(hit.logits, expected.logits), image.data.constructor.name).toBeLessThan(1e-3)
    }
  })

  it('encoded in half the precision give nearly the same logits', async () => {
    const [expected] = (await scene.segment([box], { multimask: false })) as [Hit]
    const range = Math.max(...expected.logits) - Math.min(...expected.logits)
    for (const precision of ['bf16', 'fp16'] as const) {
      using half = await SegSam.load(bundle, { device: 'cpu', precision })
      expect(half.info.precision).toBe(precision)
      using halfScene = await half.encode(discImage(width, height))
      const [hit] = (await halfScene.segment([box], { multimask: false })) as [Hit]
      const difference = maxDifference(hit.logits, expected.logits)
      expect(difference, precision).toBeGreaterThan(0)
      expect(difference, precision).toBeLessThan(0.05 * range)
    }
  })

  it('whose pixels are borrowed give the same scene; copied ones may be overwritten at once', async () => {
    const [expected] = (await scene.segment([box])) as [Hit]
    const borrowed = await model.encode(discImage(width, height), { borrow: true })
    expectSame(((await borrowed.segment([box])) as [Hit])[0], expected)
    const image = discImage(width, height)
    const pending = model.encode(image)
    image.data.fill(0)
    expectSame(((await (await pending).segment([box])) as [Hit])[0], expected)
  })
})

describe('out', () => {
  it('receives the masks in the order of the prompts, whatever their kinds', async () => {
    for (const prompts of [[box], [box, box], [click, box, clicks, boxAndClick]]) {
      for (const multimask of [true, false]) {
        const out = new Uint8Array(prompts.length * (multimask ? 3 : 1) * width * height).fill(9)
        const hits = await scene.segment(prompts, { multimask, out })
        const proposals = hits.flatMap(({ masks }) => masks)
        for (const [i, { mask }] of proposals.entries()) {
          expect(mask.data.buffer).toBe(out.buffer)
          expect(mask.data.byteOffset).toBe(i * width * height)
        }
        const fresh = await scene.segment(prompts, { multimask })
        const freshProposals = fresh.flatMap(({ masks }) => masks)
        for (const [i, { mask }] of proposals.entries()) expect(mask.iou(freshProposals[i]!.mask)).toBeGreaterThan(0.99)
      }
    }
  })

  it('on shared memory is written in place, while JavaScript runs', async () => {
    const prompts = [box, box]
    const expected = await scene.segment(prompts)
    const bytes = 6 * width * height
    const memory = new SharedArrayBuffer(bytes + 3)
    const out = new Uint8Array(memory, 3).fill(9)
    const pending = scene.segment(prompts, { out })
    await setImmediate()
    // No promise settles meanwhile.
    const end = Date.now() + 20_000
    while (out.at(-1) === 9 && Date.now() < end) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    expect(out.at(-1)).not.toBe(9)
    for (const [i, hit] of (await pending).entries()) {
      expectSame(hit, expected[i]!)
      expect(hit.mask.data.buffer).toBe(memory)
    }
  })

  it('on shared memory that can grow is as long as it was', async () => {
    const bytes = 3 * width * height
    const Growable = SharedArrayBuffer as new (length: number, options: object) => SharedArrayBuffer
    const memory = new Growable(bytes, { maxByteLength: bytes + 100 }) as SharedArrayBuffer & { grow(to: number): void }
    const tracking = new Uint8Array(memory)
    const [hit] = await scene.segment([box], { out: tracking })
    const [expected] = await scene.segment([box])
    expectSame(hit!, expected!)
    memory.grow(bytes + 1)
    await expect(scene.segment([box], { out: tracking })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  it('is refused while another call writes to it', async () => {
    const bytes = 3 * width * height
    const memory = new Uint8Array(2 * bytes)
    const first = scene.segment([box], { out: memory.subarray(0, bytes) })
    await expect(scene.segment([click], { out: memory.subarray(1, bytes + 1) })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('A running call writes to'),
    })
    const beside = scene.segment([click], { out: memory.subarray(bytes) })
    const [expected] = await scene.segment([box])
    expectSame((await first)[0]!, expected!)
    await beside
    await scene.segment([click], { out: memory.subarray(1, bytes + 1) })
    await expect(scene.segment([box], { out: memory.subarray(0, bytes), timeout: 1e-3 })).rejects.toThrow()
    await scene.segment([box], { out: memory.subarray(0, bytes) })
  })

  it('is refused in another size or type', async () => {
    const right = 3 * width * height
    const shared = new Uint8Array(new SharedArrayBuffer(right + 1))
    for (const out of [shared, new Uint8Array(right - 1), new Uint8Array(0), new Uint16Array(right), []]) {
      await expect(scene.segment([box], { out: out as Uint8Array })).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        message: expect.stringContaining(`${right} bytes`),
      })
    }
  })
})

describe('classes', () => {
  it('are all of the bundle by default, ranked, their probabilities and that of "nothing" adding up to 1', async () => {
    const trained = await copiedBundle()
    await editJson(join(trained, 'manifest.json'), (manifest) => {
      manifest.semantic = 'trained'
    })
    const own = await SegSam.load(trained, { device: 'cpu', precision: 'fp32' })
    const ownScene = await own.encode(discImage(width, height))
    const [hit] = (await ownScene.segment([box])) as [Hit]
    const named = hit.label ? [hit.label, ...hit.candidates] : hit.candidates
    expect(named.map(({ id }) => id).toSorted()).toEqual(own.classes.map(({ id }) => id).toSorted())
    const probabilities = named.map(({ probability }) => probability)
    expect(probabilities).toEqual(probabilities.toSorted((a, b) => b - a))
    const sum = probabilities.reduce((a, b) => a + b, 0)
    expect(sum).toBeGreaterThan(0)
    expect(sum).toBeLessThanOrEqual(1 + 1e-5)
    expect(hit.labelReason).toBe(hit.label ? null : 'nothing')

    const [first, second] = own.classes
    const ids = (result: Hit) =>
      [...(result.label ? [result.label] : []), ...result.candidates].map(({ id }) => id).toSorted()
    const [restricted] = (await ownScene.segment([box], { classes: [first!.id] })) as [Hit]
    expect(ids(restricted)).toEqual([first!.id])
    const card = { id: 'disc', name: 'Disc', description: 'Round and bright. It lies in the middle.' }
    const [extended] = (await ownScene.segment([box], { classes: [...own.classes, card] })) as [Hit]
    expect(ids(extended)).toEqual([...own.classes.map(({ id }) => id), 'disc'].toSorted())
    const [mixed] = (await ownScene.segment([box], { classes: [second!.id, card] })) as [Hit]
    expect(ids(mixed)).toEqual([second!.id, 'disc'].toSorted())
    own.dispose()
  })

  it('can be edited in the bundle', async () => {
    const edited = await copiedBundle()
    await editJson(join(edited, 'classes.json'), ({ classes }) => {
      classes.push({ id: 'added_by_hand', name: 'Added', sentences: ['Unlike anything else.'] })
    })
    const own = await SegSam.load(edited, { device: 'cpu', precision: 'fp32' })
    expect(own.classes.map(({ id }) => id)).toContain('added_by_hand')
    own.dispose()
  })

  it('that a bundle does not have are refused with the nearest ids', async () => {
    const { id } = model.classes[0]!
    await expect(scene.segment([box], { classes: [`${id}x`] })).rejects.toMatchObject({
      code: 'UNKNOWN_CLASS',
      message: expect.stringContaining(id),
    })
  })

  it('that are no cards are refused', async () => {
    for (const classes of [
      [],
      'liver',
      [{ id: 'a', name: 'A' }],
      [null],
      [{ id: 'a', name: '', description: 'b' }],
      [7],
    ]) {
      await expect(
        scene.segment([box], { classes: classes as unknown as string[] }),
        JSON.stringify(classes),
      ).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      })
    }
    const { id } = model.classes[0]!
    await expect(scene.segment([box], { classes: [id, id] })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  it('and semantic masks are not reported by an untrained bundle; its binary masks are', async () => {
    const untrained = await untrainedBundle()
    using own = await SegSam.load(untrained, { device: 'cpu', precision: 'fp32' })
    using ownScene = await own.encode(discImage(width, height))
    const card = { id: 'disc', name: 'Disc', description: 'Round and bright.' }
    for (const classes of [undefined, [own.classes[0]!.id, card]]) {
      const [hit] = (await ownScene.segment([box], classes ? { classes } : {})) as [Hit]
      const [trained] = (await scene.segment([box])) as [Hit]
      expect(hit).toMatchObject({ label: null, labelReason: 'untrained', candidates: [], others: [] })
      expect(hit).toMatchObject({ semanticMask: null, semanticLogits: null, agreement: null })
      for (const [i, { mask, logits, predictedIou, agreement }] of hit.masks.entries()) {
        expect(agreement).toBeNull()
        expect(logits).toEqual(trained.masks[i]!.logits)
        expect(mask.data).toEqual(trained.masks[i]!.mask.data)
        expect(predictedIou).toBe(trained.masks[i]!.predictedIou)
      }
    }
  })
})

describe('the default window', () => {
  const encoded = async (own: SegSam, image: MedicalImage, options: EncodeOptions = {}) => {
    using ownScene = await own.encode(image, options)
    const [hit] = (await ownScene.segment([box], { multimask: false })) as [Hit]
    return hit
  }

  it('of a bundle may be the least and greatest intensity of each image, alpha left out', async () => {
    const folder = await copiedBundle()
    await editJson(join(folder, 'manifest.json'), (manifest) => {
      manifest.default_window = 'min_max'
    })
    using own = await SegSam.load(folder, { device: 'cpu', precision: 'fp32' })
    expect(own.info.defaultWindow).toBe('min_max')
    expect(model.info.defaultWindow).toBe('auto')
    const gray = discImage(width, height)
    const dim = Uint8Array.from(gray.data, (value) => 20 + value / 4)
    const [low, high] = [Math.min(...dim), Math.max(...dim)]
    const expected = await encoded(model, { ...gray, data: dim }, { window: [low, high] })
    const rgba = Uint8Array.from({ length: 4 * dim.length }, (_, i) => (i % 4 === 3 ? i % 256 : dim[i >> 2]!))
    const images: MedicalImage[] = [
      { ...gray, data: dim },
      { ...gray, data: rgba, channels: 4 },
      { ...gray, data: Float32Array.from(dim, (value) => 8 * value - 1000) },
    ]
    for (const image of images) {
      const hit = await encoded(own, image)
      expect(maxDifference(hit.logits, expected.logits), image.data.constructor.name).toBeLessThan(1e-4)
    }
    const unwindowed = await encoded(model, { ...gray, data: dim })
    expect(maxDifference(unwindowed.logits, expected.logits)).toBeGreaterThan(1e-3)
    const given = await encoded(own, { ...gray, data: dim }, { window: [0, 255] })
    expect(given.logits).toEqual(unwindowed.logits)
    const flat = await encoded(own, { ...gray, data: new Uint8Array(dim.length).fill(7) })
    expect(flat.logits.every(Number.isFinite)).toBe(true)
  })
})

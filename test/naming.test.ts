import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import type { Decoded, MaskBits } from '../binding.js'
import type { Manifest } from '../lib/bundle.js'
import type { ClassBook } from '../lib/classes.js'
import { type Hit, Scene } from '../lib/index.js'
import type { PlacedScene } from '../lib/replicas.js'
import { anyOrigin } from './fixture.js'

const cards = [
  { id: 'disc', name: 'Disc', codes: [{ scheme: 'SCT', value: '1' }], sentences: [] },
  { id: 'ring', name: 'Ring', sentences: [] },
  { id: 'bar', name: 'Bar', sentences: [] },
]

/** What the decoders say of one prompt in an image of one pixel. */
function decodedAs(classProbabilities: number[], presence: number[]): Decoded {
  const background = () => ({ expand: () => undefined }) as unknown as MaskBits
  return {
    masksPerPrompt: 1,
    masks: background(),
    logits: new Float32Array(1),
    iou: new Float32Array(1),
    semanticMasks: background(),
    semanticLogits: new Float32Array(1),
    agreement: Float32Array.of(1),
    classProbabilities: Float32Array.from(classProbabilities),
    presence: Float32Array.from(presence),
  }
}

async function hitOf(decoded: Decoded, semantic: Manifest['semantic'] = 'trained'): Promise<Hit> {
  let answer: Decoded | null = decoded
  const decode = async () => {
    const once = answer
    answer = null
    return once
  }
  const native = { width: 1, height: 1, disposed: false, decode } as unknown as PlacedScene
  const book = { select: async () => ({ cards, vectors: {} }) } as unknown as ClassBook
  const scene = new Scene(native, { mask_size: 1, semantic } as Manifest, book, anyOrigin)
  const [hit] = await scene.segment([{ points: [{ x: 0, y: 0 }] }], { multimask: false })
  return hit!
}

function named(classProbabilities: number[], presence: number[], semantic?: Manifest['semantic']): Promise<Hit> {
  return hitOf(decodedAs(classProbabilities, presence), semantic)
}

/** What is taken of a hit, and what of its call is still held when only that is. */
async function heldWith<T>(take: (hit: Hit) => T): Promise<{ taken: T; held: string[] }> {
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  const call = async () => {
    const decoded = decodedAs([0.5, 0.25, 0.125, 0.125], [0.75, 0.25, 0.875])
    const { masks, logits, semanticMasks, semanticLogits, iou } = decoded
    const parts = { decoded, masks, logits, semanticMasks, semanticLogits, iou }
    const given = Object.entries(parts).map(([name, part]) => ({ name, part: new WeakRef(part) }))
    return { taken: take(await hitOf(decoded)), given }
  }
  const { taken, given } = await call()
  for (let i = 0; i < 20; i++) {
    await setImmediate()
    collect()
  }
  return { taken, held: given.filter(({ part }) => part.deref()).map(({ name }) => name) }
}

it('a mask that is kept holds the masks of its call, and nothing else of it', async () => {
  const { taken, held } = await heldWith(({ mask }) => mask)
  expect(held).toEqual(['masks'])
  expect(taken.data).toEqual(new Uint8Array(1))
})

it('a hit ranks candidates and others when they are read, and holds no more of its call than they need', async () => {
  const { taken, held } = await heldWith((hit) => hit)
  expect(held).toEqual(['masks', 'logits', 'semanticMasks', 'semanticLogits'])
  expect(Object.getOwnPropertyDescriptor(taken, 'candidates')!.get).toBeTypeOf('function')
  expect(taken.candidates.map(({ id }) => id)).toEqual(['ring', 'bar'])
  expect(taken.others.map(({ id }) => id)).toEqual(['bar'])
})

describe('what a hit is called', () => {
  it('is nothing where the semantic part is untrained, however sure its numbers look', async () => {
    const hit = await named([0.98, 0.01, 0.01, 0], [1, 1, 1], 'untrained')
    expect(hit).toMatchObject({ label: null, labelReason: 'untrained', candidates: [], others: [] })
    expect(hit).toMatchObject({ semanticMask: null, semanticLogits: null, agreement: null })
    expect(hit.masks.map(({ agreement }) => agreement)).toEqual([null])
  })

  it('is the most probable class, with its codes; the rest are ranked candidates', async () => {
    const hit = await named([0.125, 0.5, 0.25, 0.125], [0, 0, 0])
    expect(hit.label).toEqual({ id: 'ring', name: 'Ring', probability: 0.5, codes: [] })
    expect(hit.labelReason).toBeNull()
    expect(hit.candidates).toEqual([
      { id: 'bar', name: 'Bar', probability: 0.25, codes: [] },
      { id: 'disc', name: 'Disc', probability: 0.125, codes: [{ scheme: 'SCT', value: '1' }] },
    ])
  })

  it('is no class where "nothing" is more probable than any; all classes stay candidates', async () => {
    const hit = await named([0.125, 0.25, 0.125, 0.5], [0, 0, 0])
    expect(hit.label).toBeNull()
    expect(hit.labelReason).toBe('nothing')
    expect(hit.candidates.map(({ id }) => id)).toEqual(['ring', 'disc', 'bar'])
  })
})

describe('equals', () => {
  it('are ranked in the order of the classes', async () => {
    const hit = await named([0.125, 0.375, 0.375, 0.125], [0.75, 0, 0.75])
    expect(hit.label!.id).toBe('ring')
    expect(hit.candidates.map(({ id }) => id)).toEqual(['bar', 'disc'])
    expect(hit.others.map(({ id }) => id)).toEqual(['disc', 'bar'])
  })

  it('of "nothing" are no label', async () => {
    const hit = await named([0.375, 0.125, 0.125, 0.375], [0, 0, 0])
    expect(hit).toMatchObject({ label: null, labelReason: 'nothing' })
    expect(hit.candidates.map(({ id }) => id)).toEqual(['disc', 'ring', 'bar'])
  })
})

describe('the others', () => {
  it('are the classes whose presence is above one half, without the class of the hit', async () => {
    const hit = await named([0.75, 0.125, 0.125, 0], [0.875, 0.5, 0.625])
    expect(hit.label!.id).toBe('disc')
    expect(hit.others).toEqual([{ id: 'bar', name: 'Bar', probability: 0.625, codes: [] }])
  })

  it('are ranked, and all kept where the hit has no name', async () => {
    const hit = await named([0, 0, 0.25, 0.75], [0.75, 0.25, 0.875])
    expect(hit.others.map(({ id }) => id)).toEqual(['bar', 'disc'])
  })
})

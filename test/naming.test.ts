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

it('a mask that is kept holds neither logits nor anything else of its call', async () => {
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  const call = async () => {
    const decoded = decodedAs([1, 0, 0, 0], [0, 0, 0])
    const others = [decoded, decoded.logits, decoded.semanticLogits, decoded.semanticMasks].map(
      (each) => new WeakRef(each),
    )
    const { mask } = await hitOf(decoded)
    return { mask, others }
  }
  const { mask, others } = await call()
  for (let i = 0; i < 20 && others.some((each) => each.deref()); i++) {
    await setImmediate()
    collect()
  }
  expect(others.map((each) => each.deref())).toEqual([undefined, undefined, undefined, undefined])
  expect(mask.data).toEqual(new Uint8Array(1))
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

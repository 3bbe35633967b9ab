import { describe, expect, it } from 'vitest'
import type { Decoded, PromptBatch } from '../binding.js'
import type { Manifest } from '../lib/bundle.js'
import type { ClassBook } from '../lib/classes.js'
import { type PresenceOptions, Scene } from '../lib/index.js'
import type { PlacedScene } from '../lib/replicas.js'
import { anyOrigin } from './fixture.js'

const cards = [
  { id: 'disc', name: 'Disc', codes: [{ scheme: 'SCT', value: '1' }], sentences: [] },
  { id: 'ring', name: 'Ring', sentences: [] },
  { id: 'bar', name: 'Bar', sentences: [] },
]

/** An image of 8 x 4 pixels whose points are of the classes that a test says. */
function sceneOf(probabilitiesAt: (x: number, y: number) => number[], semantic = 'trained') {
  const asked: [number, number][] = []
  const decode = async ({ count, points }: PromptBatch): Promise<Decoded> => {
    const at = Array.from({ length: count }, (_, i): [number, number] => [points[4 * i]!, points[4 * i + 1]!])
    asked.push(...at)
    return {
      iou: new Float32Array(count),
      classProbabilities: Float32Array.from(at.flatMap(([x, y]) => probabilitiesAt(x, y))),
      presence: new Float32Array(3 * count).fill(1),
    } as unknown as Decoded
  }
  const native = { width: 8, height: 4, disposed: false, decode } as unknown as PlacedScene
  const book = { select: async () => ({ cards, vectors: {} }) } as unknown as ClassBook
  return { scene: new Scene(native, { mask_size: 1, semantic } as Manifest, book, anyOrigin), asked }
}

describe('the classes present', () => {
  const { scene, asked } = sceneOf((x) => (x < 4 ? [0.75, 0.125, 0.125, 0] : [0, 0.25, 0.625, 0.125]))

  it('are those that the surest point of a grid lies on, most probable first', async () => {
    expect(await scene.present({ pointsPerSide: 2 })).toEqual({
      classes: [
        { id: 'disc', name: 'Disc', probability: 0.75, codes: [{ scheme: 'SCT', value: '1' }] },
        { id: 'bar', name: 'Bar', probability: 0.625, codes: [] },
      ],
      labelReason: null,
    })
    expect(asked).toEqual([
      [2, 1],
      [6, 1],
      [2, 3],
      [6, 3],
    ])
  })

  it('are more or fewer with another threshold', async () => {
    const ids = async (threshold: number) => (await scene.present({ threshold })).classes.map(({ id }) => id)
    expect(await ids(0.2)).toEqual(['disc', 'bar', 'ring'])
    expect(await ids(0.7)).toEqual(['disc'])
    expect(await scene.present({ threshold: 0.9 })).toEqual({ classes: [], labelReason: 'nothing' })
  })

  it('are not told by an untrained bundle', async () => {
    const untrained = sceneOf(() => [1, 0, 0, 0], 'untrained')
    expect(await untrained.scene.present()).toEqual({ classes: [], labelReason: 'untrained' })
    expect(untrained.asked).toEqual([])
  })

  it.each([[{ threshold: 2 }], [{ pointsPerSide: 0 }], [{ points: 3 }], [null]])(
    'are not told for options such as %j',
    async (options) => {
      await expect(scene.present(options as PresenceOptions)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    },
  )
})

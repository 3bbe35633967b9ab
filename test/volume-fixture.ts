import { Volume, type VolumeContent, VoxelMask } from '../lib/index.js'
import { Mask } from '../lib/mask.js'
import type { Prompt } from '../lib/prompts.js'
import type { Hit } from '../lib/scene.js'
import type { Affine, Vector } from '../lib/volume/affine.js'
import type { SliceModel, SliceScene } from '../lib/volume-objects/slice-model.js'

export const straight: Affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1]
/** i to the right and tilted, j to the head, k to the front. */
export const oblique: Affine = [-0.9, 0.1, 0, 5, 0.1, 0.2, -2, 7, 0.05, 1.1, 0.3, -9, 0, 0, 0, 1]

export function volumeOf(shape: Vector, content: Partial<VolumeContent> = {}): Volume {
  return new Volume({
    data: Uint8Array.from({ length: shape[0] * shape[1] * shape[2] }, (_, i) => (i * 7) % 251),
    shape,
    channels: 1,
    affine: straight,
    unit: null,
    modality: null,
    window: null,
    inverted: false,
    warnings: [],
    dicom: null,
    ...content,
  })
}

/** The voxels of a volume for which something holds. */
export function voxelsWhere(shape: Vector, holds: (i: number, j: number, k: number) => boolean): VoxelMask {
  const data = new Uint8Array(shape[0] * shape[1] * shape[2])
  for (let k = 0, at = 0; k < shape[2]; k++) {
    for (let j = 0; j < shape[1]; j++) {
      for (let i = 0; i < shape[0]; i++, at++) data[at] = holds(i, j, k) ? 1 : 0
    }
  }
  return VoxelMask.of(shape, data)
}

/** What a prompt is answered with by {@link perfectModel}, if not perfectly. */
export type Spoil = (answer: { slice: number; object: number; hit: Hit; prompt: Prompt }) => Partial<Hit>

/**
 * Draws each object exactly, on every slice: the one that has most pixels in the box, else under the points. It keeps
 * count of what it was asked.
 */
export function perfectModel(objects: readonly VoxelMask[], spoil: Spoil = () => ({})) {
  const asked = {
    encoded: [] as number[],
    calls: [] as { slice: number; prompts: readonly Prompt[]; multimask: boolean }[],
    alive: 0,
    mostAlive: 0,
  }
  const model: SliceModel<SliceScene> = {
    encode: async ({ index, plane, width, height }) => {
      asked.encoded.push(index)
      asked.alive++
      asked.mostAlive = Math.max(asked.mostAlive, asked.alive)
      const masks = objects.map((object) => object.slice(plane))
      return {
        segment: async (prompts, { multimask = true }) => {
          asked.calls.push({ slice: index, prompts, multimask })
          return prompts.map((prompt) => {
            const object = meant(prompt, masks)
            const hit = hitOf(masks[object] ?? new Mask(width, height, new Uint8Array(width * height)))
            return { ...hit, ...spoil({ slice: index, object, hit, prompt }) }
          })
        },
        dispose: () => {
          asked.alive--
        },
      }
    },
  }
  return { model, asked }
}

function meant({ box, points = [] }: Prompt, masks: readonly Mask[]): number {
  const counts = masks.map(({ data, width }) => {
    const within = (x: number, y: number) => !box || (x >= box[0] && y >= box[1] && x <= box[2] && y <= box[3])
    const clicked = points.filter(({ x, y }) => data[Math.round(y) * width + Math.round(x)]).length
    return box ? data.filter((value, at) => value && within(at % width, Math.floor(at / width))).length : clicked
  })
  const most = Math.max(...counts)
  return most > 0 ? counts.indexOf(most) : -1
}

export function hitOf(mask: Mask): Hit {
  const logits = new Float32Array(4)
  const label = { id: 'liver', name: 'Liver', probability: 0.8, codes: [] }
  const proposal = { mask, predictedIou: 0.9, agreement: 0.8, logits }
  const rest = { semanticMask: null, semanticLogits: null, labelReason: null, candidates: [], others: [] }
  return { ...proposal, masks: [proposal], label, ...rest }
}

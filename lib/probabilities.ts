import { addon } from './addon.js'
import type { ModelInfo } from './model.js'
import type { MaskLogits } from './prompts.js'

/**
 * The logistic function of mask logits at the size of the image, which are made as those of the masks are: 0.5 or
 * more where a mask of the default threshold is set, 0.5 or less elsewhere.
 *
 * @returns row-major, one value a pixel
 */
export function probabilitiesOf(
  logits: MaskLogits,
  { maskSize, imageSize, resizeMode }: Pick<ModelInfo, 'maskSize' | 'imageSize' | 'resizeMode'>,
  width: number,
  height: number,
): Float32Array {
  const upscaled = addon().upscaleLogits(logits, maskSize, width, height, imageSize, resizeMode)
  for (let i = 0; i < upscaled.length; i++) upscaled[i] = 1 / (1 + Math.exp(-upscaled[i]!))
  return upscaled
}

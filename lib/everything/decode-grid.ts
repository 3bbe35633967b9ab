import type { Decoded, DecodeOptions, PromptBatch } from '../../binding.js'

/** An encoded image, ready to be decoded for a choice of classes. */
export interface Decoder {
  /** Of the original image, in pixels. */
  width: number
  height: number
  maskSize: number
  imageSize: number
  resizeMode: 'longest' | 'stretch'
  /** Of the call that looks: asked between the prompts, whose masks take time of the event loop. */
  signal: AbortSignal | undefined
  decode(batch: PromptBatch, options: DecodeOptions): Promise<Decoded>
}

export interface DecodedPoints {
  decoded: Decoded
  /** (count, 2): the points of this batch. */
  points: Float32Array
  count: number
}

/** Of the masks of one decode at the size of the image, a bit a pixel. */
const BATCH_BITS = 2 ** 29

const FOREGROUND = 1
const PADDING = -1

/**
 * Decodes each point as a prompt of its own, in batches: at most `perBatch` points, and fewer where the masks of a large
 * image would take more than 64 MiB. Results do not depend on the batches.
 *
 * @param points (n, 2): x, y in pixels of the image
 */
export async function* decodedPoints(
  decoder: Decoder,
  points: Float32Array,
  { perBatch, multimask }: { perBatch: number; multimask: boolean },
): AsyncGenerator<DecodedPoints> {
  const masks = (multimask ? 3 : 1) + 1
  const fitting = Math.max(1, Math.floor(BATCH_BITS / (masks * decoder.width * decoder.height)))
  const step = Math.min(perBatch, fitting)
  for (let start = 0; start < points.length / 2; start += step) {
    const batch = points.subarray(2 * start, 2 * (start + step))
    const decoded = await decoder.decode(promptsOf(batch), { multimask, threshold: 0, out: null })
    yield { decoded, points: batch, count: batch.length / 2 }
  }
}

/** A point without a box is followed by one padding point, as in SAM. */
function promptsOf(points: Float32Array): PromptBatch {
  const count = points.length / 2
  const padded = new Float32Array(4 * count)
  const labels = new Int32Array(2 * count)
  for (let i = 0; i < count; i++) {
    padded.set(points.subarray(2 * i, 2 * i + 2), 4 * i)
    labels.set([FOREGROUND, PADDING], 2 * i)
  }
  return { count, pointsPerPrompt: 2, points: padded, labels, masks: null }
}

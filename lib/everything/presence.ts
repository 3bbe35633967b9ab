import { z } from 'zod'
import { CALL_OPTIONS, type CallOptions } from '../call.js'
import type { NewClassCard } from '../classes.js'
import { checkOptions, parsedOptions } from '../options.js'
import { type Decoder, decodedPoints } from './decode-grid.js'
import { pointGrid } from './point-grid.js'

const POINTS_PER_BATCH = 64

export interface PresenceOptions extends CallOptions {
  /** Classes that are no more probable are left out. 0 to 1; default 0.5, as for `hit.others`. */
  threshold?: number
  /** Points along each side of the grid that looks at the image. 1 to 128; default 12. */
  pointsPerSide?: number
  /** The classes to look for, as in `scene.segment`. Default: all of `model.classes`. */
  classes?: readonly (string | NewClassCard)[]
}

const shape = {
  threshold: z.number().min(0).max(1).default(0.5).describe('a number from 0 to 1'),
  pointsPerSide: z.int().min(1).max(128).default(12).describe('a whole number from 1 to 128'),
}

/** @throws SegSamError `INVALID_ARGUMENT` */
export function checkedPresence(options: PresenceOptions) {
  checkOptions(options, ['threshold', 'pointsPerSide', 'classes', ...CALL_OPTIONS])
  return parsedOptions(options, shape)
}

/**
 * How probable it is that an object of each class is in the picture, with no prompt given: each point of a grid is asked
 * what it lies on (the SO-token's class), and the surest point speaks for its class.
 *
 * Single points were in the training; a decode without any prompt was not. The CO-tokens, which tell what else is in
 * the picture, are not asked: on 13 training images, with seg-sam-tiny 0.1.0, their answers pooled over the points had an
 * average precision of 0.22 over all classes, those of the SO-token 0.78.
 *
 * @returns (K)
 */
export async function presenceOf(decoder: Decoder, classes: number, pointsPerSide: number): Promise<Float32Array> {
  const points = pointGrid(pointsPerSide, decoder.width, decoder.height)
  const surest = new Float32Array(classes)
  const batches = decodedPoints(decoder, points, { perBatch: POINTS_PER_BATCH, multimask: false })
  for await (const { decoded, count } of batches) {
    for (let place = 0; place < count; place++) {
      for (let k = 0; k < classes; k++) {
        surest[k] = Math.max(surest[k]!, decoded.classProbabilities[place * (classes + 1) + k]!)
      }
    }
  }
  return surest
}

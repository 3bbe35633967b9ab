import type { ModelStats, RunStats } from '../binding.js'
import type { SceneCacheStats } from './scene-cache.js'

/** Milliseconds: over the last 1024, percentiles by nearest rank. All 0 before the first. */
export interface Times {
  mean: number
  p50: number
  p95: number
  p99: number
}

/** Passes of the encoder or of the decoders. */
export interface PassStats {
  /** Passes of the model; several calls may share one. */
  passes: number
  /** What was computed in them: images for `encode`, prompts for `decode`. */
  items: number
  /** `items / passes`; 0 before the first pass. */
  meanSize: number
  /** How long jobs waited before they started. */
  wait: Times
  /** How long a pass took. */
  run: Times
}

/**
 * What a model did since it was loaded, as a plain object. A job is what waits for the device: a call of `encode` is one,
 * a call of `segment` one for each form of prompt in it, a call that looks at the whole image one for each batch of points.
 */
export interface Stats {
  /** Jobs that wait now, by priority. */
  queued: { interactive: number; batch: number }
  /** Jobs that run now. */
  running: number
  /**
   * Class cards that are being embedded now. Calls that need them wait until it is 0, and only then become jobs: the first
   * ones after the model was loaded, and those that ask for classes in a selection that was not used lately.
   */
  preparing: number
  /** Jobs that ended with a result or with an error; dropped by a signal or a timeout before they started; refused because the queue was full. */
  jobs: { done: number; failed: number; aborted: number; expired: number; rejected: number }
  encode: PassStats
  decode: PassStats
  /** Bytes on the device: of the weights (0 once disposed), and of the features of all live scenes. */
  memory: { weightBytes: number; scenes: number; sceneBytes: number }
  /** Its bytes are part of `memory.sceneBytes`. */
  cache: SceneCacheStats
}

export function statsOf(native: ModelStats, cache: SceneCacheStats, preparing: number): Stats {
  const { queued, running, done, failed, aborted, expired, rejected, weightBytes, scenes, sceneBytes } = native
  return {
    queued,
    running,
    preparing,
    jobs: { done, failed, aborted, expired, rejected },
    encode: passesOf(native.encode),
    decode: passesOf(native.decode),
    memory: { weightBytes, scenes, sceneBytes },
    cache,
  }
}

function passesOf({ runs, items, wait, run }: RunStats): PassStats {
  return { passes: runs, items, meanSize: runs > 0 ? items / runs : 0, wait, run }
}

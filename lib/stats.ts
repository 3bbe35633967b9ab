import type { ModelStats, RunStats } from '../binding.js'
import type { SceneCacheStats } from './scene-cache.js'

/**
 * Milliseconds: over the last 1024, percentiles by nearest rank. All 0 before the first. For several devices together,
 * each is that of the device where it is longest.
 */
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

/** What a model did on one device, or on all of its devices together. */
export interface WorkStats {
  /** Jobs that wait now, by priority. */
  queued: { interactive: number; batch: number }
  /** Jobs that run now. */
  running: number
  /** Jobs that ended with a result or with an error; dropped by a signal or a timeout before they started; refused because the queue was full. */
  jobs: { done: number; failed: number; aborted: number; expired: number; rejected: number }
  encode: PassStats
  decode: PassStats
  /** Bytes on the device: of the weights (0 once disposed), and of the features of all live scenes. */
  memory: { weightBytes: number; scenes: number; sceneBytes: number }
}

/** {@link WorkStats} of one of the devices that the model was loaded on. */
export interface DeviceStats extends WorkStats {
  /** For example `cpu` or `cuda:0`. */
  device: string
}

/**
 * What a model did since it was loaded, as a plain object. A job is what waits for the device: a call of `encode` is one,
 * a call of `segment` one for each form of prompt in it, a call that looks at the whole image one for each batch of points.
 */
export interface Stats extends WorkStats {
  /**
   * Class cards that are being embedded now. Calls that need them wait until they are, and until their vectors are computed
   * on the device, and only then become jobs: the first ones after the model was loaded, and those with cards of their own.
   */
  preparing: number
  /** Its bytes are part of `memory.sceneBytes`. */
  cache: SceneCacheStats
  /** One for each entry of `device` in `SegSam.load`, in that order. */
  devices: DeviceStats[]
}

export function statsOf(
  replicas: readonly { device: string; stats: ModelStats }[],
  cache: SceneCacheStats,
  preparing: number,
): Stats {
  return {
    ...workOf(replicas.map(({ stats }) => stats).reduce(together)),
    preparing,
    cache,
    devices: replicas.map(({ device, stats }) => ({ device, ...workOf(stats) })),
  }
}

function workOf(native: ModelStats): WorkStats {
  const { queued, running, done, failed, aborted, expired, rejected, weightBytes, scenes, sceneBytes } = native
  return {
    queued,
    running,
    jobs: { done, failed, aborted, expired, rejected },
    encode: passesOf(native.encode),
    decode: passesOf(native.decode),
    memory: { weightBytes, scenes, sceneBytes },
  }
}

function passesOf({ runs, items, wait, run }: RunStats): PassStats {
  return { passes: runs, items, meanSize: runs > 0 ? items / runs : 0, wait, run }
}

function together(a: ModelStats, b: ModelStats): ModelStats {
  const { queued, encode, decode, ...counts } = a
  return {
    ...each(counts, b, sum),
    queued: each(queued, b.queued, sum),
    encode: runsTogether(encode, b.encode),
    decode: runsTogether(decode, b.decode),
  }
}

function runsTogether(a: RunStats, b: RunStats): RunStats {
  const { wait, run, ...counts } = a
  return { ...each(counts, b, sum), wait: each(wait, b.wait, Math.max), run: each(run, b.run, Math.max) }
}

function sum(a: number, b: number): number {
  return a + b
}

/** The fields of `a`, each combined with that of `b`. */
function each<T extends { [K in keyof T]: number }>(a: T, b: T, combine: (a: number, b: number) => number): T {
  const names = Object.keys(a) as (keyof T)[]
  return Object.fromEntries(names.map((name) => [name, combine(a[name], b[name])])) as T
}

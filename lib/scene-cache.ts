import { createHash } from 'node:crypto'
import type { ImageView } from '../binding.js'
import type { PlacedScene } from './replicas.js'

/** What the cache of encoded images holds and did; all 0 where the model was loaded without one. */
export interface SceneCacheStats {
  /** Images that were found, and those that had to be encoded. */
  hits: number
  misses: number
  /** Scenes that made room for others. */
  evicted: number
  scenes: number
  /** Of the scenes it keeps, on the device. */
  bytes: number
  limitBytes: number
}

/**
 * Encoded images by their content: pixels, size, type, channels and window. Beyond its bytes it lets go of what was asked
 * for least recently. Its handles are its own: what it lets go of lives on as long as a caller's scene does.
 */
export class SceneCache {
  readonly #limitBytes: number
  /** The one used last comes last. */
  readonly #scenes = new Map<string, PlacedScene>()
  #bytes = 0
  #hits = 0
  #misses = 0
  #evicted = 0

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  get isOn(): boolean {
    return this.#limitBytes > 0
  }

  /** Another handle of the scene, for the caller to dispose. */
  find(key: string): PlacedScene | undefined {
    const scene = this.#scenes.get(key)
    if (!scene) {
      this.#misses++
      return undefined
    }
    this.#hits++
    this.#scenes.delete(key)
    this.#scenes.set(key, scene)
    return scene.share()
  }

  /** Keeps a handle of its own, unless the scene alone is larger than the cache. */
  add(key: string, scene: PlacedScene): void {
    if (scene.bytes > this.#limitBytes || this.#scenes.has(key)) return
    this.#scenes.set(key, scene.share())
    this.#bytes += scene.bytes
    for (const [oldest, kept] of this.#scenes) {
      if (this.#bytes <= this.#limitBytes) return
      this.#scenes.delete(oldest)
      this.#bytes -= kept.bytes
      this.#evicted++
      kept.dispose()
    }
  }

  clear(): void {
    for (const scene of this.#scenes.values()) scene.dispose()
    this.#scenes.clear()
    this.#bytes = 0
  }

  stats(): SceneCacheStats {
    return {
      hits: this.#hits,
      misses: this.#misses,
      evicted: this.#evicted,
      scenes: this.#scenes.size,
      bytes: this.#bytes,
      limitBytes: this.#limitBytes,
    }
  }
}

/** SHA-256: a collision would give a caller the scene of another image. */
export function contentKey({ data, width, height, channels, window }: ImageView): string {
  const form = JSON.stringify([data[Symbol.toStringTag], width, height, channels, window])
  return createHash('sha256').update(form).update(data).digest('base64')
}

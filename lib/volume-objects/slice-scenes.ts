import type { Call } from '../call.js'
import type { Axis } from '../volume/axes.js'
import type { Volume, VolumeSlice } from '../volume.js'
import type { WindowChoice } from '../window.js'
import type { SliceModel } from './slice-model.js'

/** How the slices of a volume are cut. */
export interface Cut {
  volume: Volume
  axis: Axis
  window: WindowChoice | undefined
}

interface Encoded<Scene> {
  slice: VolumeSlice
  scene: Promise<Scene>
}

/**
 * Scenes of the slices of a volume, of which two at most are alive: the current one, and the next, which is encoded while
 * the current one is decoded.
 */
export class SliceScenes<Scene extends { dispose(): void }> {
  readonly #model: SliceModel<Scene>
  readonly #cut: Cut
  readonly #call: Call
  #ahead: Encoded<Scene> | undefined

  constructor(model: SliceModel<Scene>, cut: Cut, call: Call) {
    this.#model = model
    this.#cut = cut
    this.#call = call
  }

  /**
   * Encodes a slice, unless it was already, works with it, and frees it.
   *
   * @param expected the slice that will probably be next; `null`: none
   */
  async with<T>(
    index: number,
    expected: number | null,
    work: (scene: Scene, slice: VolumeSlice) => Promise<T>,
  ): Promise<T> {
    const { slice, scene: encoding } = await this.#take(index)
    const scene = await encoding
    try {
      const result = work(scene, slice)
      if (expected !== null) this.#lookAhead(expected)
      return await result
    } finally {
      scene.dispose()
    }
  }

  /** Frees what was encoded in vain. Resolves when it is free. */
  async end(): Promise<void> {
    const { scene } = this.#ahead ?? {}
    this.#ahead = undefined
    await scene?.then(
      (vain) => vain.dispose(),
      () => {},
    )
  }

  async #take(index: number): Promise<Encoded<Scene>> {
    if (this.#ahead?.slice.index !== index) await this.end()
    const ahead = this.#ahead
    this.#ahead = undefined
    return ahead ?? this.#encode(index)
  }

  #lookAhead(index: number) {
    this.#ahead = this.#encode(index)
    // A failure is told by whoever takes the scene; until then it must not end the process.
    this.#ahead.scene.catch(() => {})
  }

  #encode(index: number): Encoded<Scene> {
    const { volume, axis, window } = this.#cut
    const slice = volume.slice(axis, index, { ...(window !== undefined && { window }) })
    return { slice, scene: this.#model.encode(slice, this.#call) }
  }
}

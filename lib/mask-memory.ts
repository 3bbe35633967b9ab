import type { MaskBits, MaskRing, MaskStats } from '../binding.js'
import { addon } from './addon.js'

/** The system maps a large block sooner than many small ones; more would be held for the sake of one mask. */
const BLOCK_BYTES = 2 ** 24

/** Memory for those masks of one call whose bytes are read, in blocks of at most as many masks as the call has prompts. */
export class MaskMemory {
  readonly #pixels: number
  readonly #masksOfBlock: number
  #block: Uint8Array = new Uint8Array(0)
  #used = 0

  constructor(pixels: number, prompts: number) {
    this.#pixels = pixels
    this.#masksOfBlock = Math.max(1, Math.min(prompts, Math.floor(BLOCK_BYTES / pixels)))
  }

  /** The bytes of a mask. @throws SegSamError `OUT_OF_MEMORY` */
  bytesOf(bits: MaskBits, index: number): Uint8Array {
    // A block that was transferred has no bytes any more.
    if (this.#block.length < (this.#used + 1) * this.#pixels) {
      this.#block = addon().newBytes(this.#masksOfBlock * this.#pixels)
      this.#used = 0
    }
    const bytes = this.#block.subarray(this.#used * this.#pixels, ++this.#used * this.#pixels)
    bits.expand(index, bytes)
    return bytes
  }
}

/** One of the masks of a call, as bits until its bytes are read. */
export class MaskOfCall {
  readonly #bits: MaskBits
  readonly #index: number
  readonly #memory: MaskMemory

  /** @param memory for the bytes */
  constructor(bits: MaskBits, index: number, memory: MaskMemory) {
    this.#bits = bits
    this.#index = index
    this.#memory = memory
  }

  /** Makes the bytes anew. @throws SegSamError `OUT_OF_MEMORY` */
  bytes(): Uint8Array {
    return this.#memory.bytesOf(this.#bits, this.#index)
  }

  /** Of the bits, as those that follow. */
  stats(): MaskStats {
    return this.#bits.stats(this.#index)
  }

  rle(): Uint32Array {
    return this.#bits.rle(this.#index)
  }

  polygons(): MaskRing[] {
    return this.#bits.polygons(this.#index)
  }
}

/** Decoder of an image codec of Cornerstone, compiled to WebAssembly. */
interface WasmDecoder {
  /** Memory for the compressed bytes. */
  getEncodedBuffer(length: number): Uint8Array
  decode(): void
  getFrameInfo(): FrameInfo
  /** A view into the codec's memory, valid until the next call. */
  getDecodedBuffer(): Uint8Array
  getInterleaveMode?(): number
  delete(): void
}

export interface FrameInfo {
  width: number
  height: number
  bitsPerSample: number
  componentCount: number
}

export interface DecodedFrame extends FrameInfo {
  bytes: Uint8Array
  /** Components one after another, as JPEG-LS has it when they are not interleaved. */
  isPlanar: boolean
}

type Factory = (options: object) => Promise<Record<string, new () => WasmDecoder>>

/** One codec, loaded when first needed. */
export class WasmCodec {
  readonly #load: () => Promise<{ default: unknown }>
  readonly #decoder: string
  #module: ReturnType<Factory> | undefined

  constructor(load: () => Promise<{ default: unknown }>, decoder: string) {
    this.#load = load
    this.#decoder = decoder
  }

  /** Throws what the codec throws. After that it is loaded anew, for its memory may be in any state. */
  async decode(compressed: Uint8Array): Promise<DecodedFrame> {
    this.#module ??= this.#instance()
    const module = await this.#module
    try {
      const decoder = new module[this.#decoder]!()
      decoder.getEncodedBuffer(compressed.length).set(compressed)
      decoder.decode()
      const bytes = decoder.getDecodedBuffer().slice()
      const { width, height, bitsPerSample, componentCount } = decoder.getFrameInfo()
      const isPlanar = decoder.getInterleaveMode?.() === 0 && componentCount > 1
      decoder.delete()
      return { bytes, width, height, bitsPerSample, componentCount, isPlanar }
    } catch (cause) {
      this.#module = undefined
      throw cause
    }
  }

  async #instance() {
    const factory = (await this.#load()).default as Factory
    // Codecs print what they dislike about a file; the error that follows is enough.
    return factory({ print: () => {}, printErr: () => {} })
  }
}

import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { Size } from '../size.js'
import { clicks, floats, gradient, lazily } from './inputs.js'
import { type Peer, serve } from './serve.js'

/** What is used of onnxruntime-node, which is installed for the benchmark alone. */
interface Runtime {
  InferenceSession: { create(file: string, options: object): Promise<Session> }
  Tensor: new (type: string, data: ArrayLike<number> | BigInt64Array, dims: number[]) => Tensor
}
interface Session {
  run(inputs: Record<string, Tensor>): Promise<Record<string, Tensor>>
}
interface Tensor {
  data: Float32Array | Uint8Array
  dims: readonly number[]
}

type Resize = (
  data: Uint8Array,
  options: object,
) => {
  resize(w: number, h: number, options: object): { raw(): { toBuffer(): Promise<Buffer> } }
}

const MEAN = [123.675, 116.28, 103.53]
const STD = [58.395, 57.12, 57.375]
const require = createRequire(import.meta.url)
const variant = process.env.BENCH_VARIANT ?? 'fp32'

/**
 * ONNX files as Hugging Face's exporter cuts SAM; of the tiny size, those of SEG-SAM's two decoders. Encode and decode
 * begin with tensors that are ready, and end with logits of low resolution.
 */
class OnnxRuntimePeer implements Peer {
  #runtime!: Runtime
  #resize!: Resize
  #size!: Size
  #encoder!: Session
  #decoder!: Session
  #upscaling!: Session
  #pixels!: Tensor
  readonly #original = lazily(() => gradient(this.#size.originalSide))
  #conditions!: Record<string, Tensor>
  #features: Record<string, Tensor> = {}
  #featuresOfOriginal: Record<string, Tensor> = {}

  async require() {
    this.#runtime = require('onnxruntime-node') as Runtime
    this.#resize = require('sharp') as Resize
  }

  async load(size: Size) {
    this.#size = size
    const { folder, imageSize } = size
    const options = { intraOpNumThreads: availableParallelism(), executionProviders: ['cpu'] }
    const session = (file: string) => this.#runtime.InferenceSession.create(join(folder, file), options)
    const suffix = variant === 'int8' ? '_quantized' : ''
    const encoder = size.huggingFace ? 'hf/onnx/vision_encoder' : 'onnx/encoder'
    this.#encoder = await session(`${encoder}${suffix}.onnx`)
    this.#decoder = await session(this.#sam ? 'hf/onnx/prompt_encoder_mask_decoder.onnx' : 'onnx/both_decoders.onnx')
    this.#upscaling = await session('onnx/upscaling.onnx')
    this.#pixels = this.#tensor(floats(folder, 'pixel_values.f32'), [1, 3, imageSize, imageSize])
    this.#conditions = {
      tokens: this.#tensor(floats(folder, 'tokens.f32'), size.tokens),
      summary: this.#tensor(floats(folder, 'summary.f32'), [1, 1, size.tokens[2]!]),
    }
    const { version } = require('onnxruntime-node/package.json') as { version: string }
    return { 'onnxruntime-node': version }
  }

  async encode() {
    this.#features = await this.#encoder.run({ pixel_values: this.#pixels })
  }

  async decode(prompts: number) {
    await this.#decode(this.#features, clicks(this.#size.imageSize, prompts))
  }

  async encodeOriginal() {
    const side = this.#size.imageSize
    const { originalSide } = this.#size
    const raw = { raw: { width: originalSide, height: originalSide, channels: 3 } }
    const small = await this.#resize(this.#original(), raw).resize(side, side, { kernel: 'linear' }).raw().toBuffer()
    this.#featuresOfOriginal = await this.#encoder.run({ pixel_values: this.#normalised(small, side) })
  }

  async click() {
    const { imageSize, originalSide, maskSize } = this.#size
    const scale = imageSize / originalSide
    const points = clicks(originalSide, 1).map(({ x, y }) => ({ x: x * scale, y: y * scale }))
    const { logits } = await this.#decode(this.#featuresOfOriginal, points)
    const one = this.#tensor(logits.subarray(0, maskSize ** 2) as Float32Array, [1, 1, maskSize, maskSize])
    await this.#upscaling.run({ logits: one })
  }

  async request() {
    const features = await this.#encoder.run({ pixel_values: this.#pixels })
    await this.#decode(features, [{ x: 20, y: 20 }])
  }

  async outputs() {
    await this.encode()
    const { logits, iou } = await this.#decode(this.#features, clicks(this.#size.imageSize, this.#size.checkedPrompts))
    return this.#sam ? concatenated([logits, iou]) : this.#withoutFirst(logits, iou)
  }

  /** SAM's decoder alone, and not SEG-SAM's two. */
  get #sam(): boolean {
    return this.#size.huggingFace
  }

  async #decode(features: Record<string, Tensor>, points: { x: number; y: number }[]) {
    const count = points.length
    if (this.#sam) {
      const xy = points.flatMap(({ x, y }) => [x, y])
      const { pred_masks, iou_scores } = await this.#decoder.run({
        ...features,
        input_points: this.#tensor(Float32Array.from(xy), [1, count, 1, 2]),
        input_labels: new this.#runtime.Tensor('int64', new BigInt64Array(count).fill(1n), [1, count, 1]),
      })
      return { logits: pred_masks!.data as Float32Array, iou: iou_scores!.data as Float32Array }
    }
    const padded = points.flatMap(({ x, y }) => [x, y, 0, 0])
    const labels = BigInt64Array.from({ length: 2 * count }, (_, i) => (i % 2 ? -1n : 1n))
    const out = await this.#decoder.run({
      ...features,
      ...this.#conditions,
      points: this.#tensor(Float32Array.from(padded), [count, 2, 2]),
      labels: new this.#runtime.Tensor('int64', labels, [count, 2]),
    })
    return { logits: out.logits!.data as Float32Array, iou: out.iou!.data as Float32Array }
  }

  /** Of four masks a prompt the three of multimask. */
  #withoutFirst(logits: Float32Array, iou: Float32Array): Float32Array {
    const pixels = this.#size.maskSize ** 2
    const prompts = Array.from({ length: iou.length / 4 }, (_, i) => i)
    return concatenated([
      ...prompts.map((i) => logits.subarray((4 * i + 1) * pixels, (4 * i + 4) * pixels)),
      ...prompts.map((i) => iou.subarray(4 * i + 1, 4 * i + 4)),
    ])
  }

  #normalised(pixels: Uint8Array, side: number): Tensor {
    const plane = side * side
    const values = new Float32Array(3 * plane)
    for (let i = 0; i < plane; i++) {
      for (let c = 0; c < 3; c++) values[c * plane + i] = (pixels[3 * i + c]! - MEAN[c]!) / STD[c]!
    }
    return this.#tensor(values, [1, 3, side, side])
  }

  #tensor(data: Float32Array, dims: number[]): Tensor {
    return new this.#runtime.Tensor('float32', data, dims)
  }
}

function concatenated(parts: Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0))
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}

await serve(new OnnxRuntimePeer())

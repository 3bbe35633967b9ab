import { join } from 'node:path'
import type { Size } from '../size.js'
import { clicks, floats, gradient, lazily } from './inputs.js'
import { type Peer, serve } from './serve.js'

/** What is used of @huggingface/transformers, which is installed for the benchmark alone. */
interface Library {
  env: { allowRemoteModels: boolean; version: string }
  SamModel: { from_pretrained(folder: string, options: object): Promise<Model> }
  AutoProcessor: { from_pretrained(folder: string, options: object): Promise<Processor> }
  RawImage: new (data: Uint8Array, width: number, height: number, channels: number) => object
  Tensor: new (type: string, data: Float32Array | BigInt64Array, dims: number[]) => Tensor
}
interface Tensor {
  data: Float32Array
  dims: number[]
  slice(...ranges: (null | [number, number])[]): Tensor
}
interface Model {
  (inputs: object): Promise<{ pred_masks: Tensor; iou_scores: Tensor }>
  get_image_embeddings(inputs: { pixel_values: Tensor }): Promise<object>
}
interface Processor {
  (image: object): Promise<{ pixel_values: Tensor; original_sizes: unknown; reshaped_input_sizes: unknown }>
  post_process_masks(masks: Tensor, originals: unknown, reshaped: unknown): Promise<unknown>
}

/** transformers.js as its documentation uses it, with the same ONNX files as onnxruntime-node. */
class TransformersJsPeer implements Peer {
  #library!: Library
  #model!: Model
  #processor!: Processor
  #size!: Size
  #pixels!: Tensor
  readonly #original = lazily(() => {
    const { originalSide } = this.#size
    return new this.#library.RawImage(gradient(originalSide), originalSide, originalSide, 3)
  })
  #embeddings!: object
  #embeddingsOfOriginal!: object
  #sizes!: { original_sizes: unknown; reshaped_input_sizes: unknown }

  async require() {
    const name: string = '@huggingface/transformers'
    this.#library = (await import(name)) as Library
    this.#library.env.allowRemoteModels = false
  }

  async load(size: Size) {
    this.#size = size
    const folder = join(size.folder, 'hf')
    const options = { dtype: 'fp32', device: 'cpu', local_files_only: true }
    this.#model = await this.#library.SamModel.from_pretrained(folder, options)
    this.#processor = await this.#library.AutoProcessor.from_pretrained(folder, options)
    const side = size.imageSize
    this.#pixels = new this.#library.Tensor('float32', floats(size.folder, 'pixel_values.f32'), [1, 3, side, side])
    return { 'transformers.js': this.#library.env.version }
  }

  async encode() {
    this.#embeddings = await this.#model.get_image_embeddings({ pixel_values: this.#pixels })
  }

  async decode(prompts: number) {
    await this.#decode(this.#embeddings, clicks(this.#size.imageSize, prompts))
  }

  async encodeOriginal() {
    const { pixel_values, original_sizes, reshaped_input_sizes } = await this.#processor(this.#original())
    this.#sizes = { original_sizes, reshaped_input_sizes }
    this.#embeddingsOfOriginal = await this.#model.get_image_embeddings({ pixel_values })
  }

  async click() {
    const scale = this.#size.imageSize / this.#size.originalSide
    const points = clicks(this.#size.originalSide, 1).map(({ x, y }) => ({ x: x * scale, y: y * scale }))
    const { pred_masks } = await this.#decode(this.#embeddingsOfOriginal, points)
    const one = pred_masks.slice(null, null, [0, 1])
    await this.#processor.post_process_masks(one, this.#sizes.original_sizes, this.#sizes.reshaped_input_sizes)
  }

  async request() {
    const embeddings = await this.#model.get_image_embeddings({ pixel_values: this.#pixels })
    await this.#decode(embeddings, [{ x: 20, y: 20 }])
  }

  async outputs() {
    await this.encode()
    const points = clicks(this.#size.imageSize, this.#size.checkedPrompts)
    const { pred_masks, iou_scores } = await this.#decode(this.#embeddings, points)
    return Float32Array.from([...pred_masks.data, ...iou_scores.data])
  }

  #decode(embeddings: object, points: { x: number; y: number }[]) {
    const count = points.length
    const xy = Float32Array.from(points.flatMap(({ x, y }) => [x, y]))
    return this.#model({
      ...embeddings,
      input_points: new this.#library.Tensor('float32', xy, [1, count, 1, 2]),
      input_labels: new this.#library.Tensor('int64', new BigInt64Array(count).fill(1n), [1, count, 1]),
    })
  }
}

await serve(new TransformersJsPeer())

import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Hit, MedicalImage, Prompt, Scene, SegSam } from '../../dist/index.js'
import type { Size } from '../size.js'
import { clicks, gradient, lazily, testImage } from './inputs.js'
import { type Peer, serve } from './serve.js'

type Library = typeof import('../../dist/index.js')

/** The package itself, through its public API: every time includes its checks, its pixels and masks at the original size. */
class SegSamPeer implements Peer {
  #library!: Library
  #model!: SegSam
  #size!: Size
  #image!: MedicalImage
  readonly #original = lazily(() => square(gradient(this.#size.originalSide), this.#size.originalSide))
  readonly #mixed = lazily(() => [this.#image, ...[0.5, 0.75, 1.5].map((scale) => scaled(this.#size.imageSize, scale))])
  #scene: Scene | undefined
  #sceneOfOriginal: Scene | undefined
  /** Memory for the masks of a batch, not in use. */
  readonly #outs: Uint8Array[] = []

  async require() {
    this.#library = (await import(pathToFileURL(resolve('dist/index.js')).href)) as Library
    this.#library.runtimeInfo()
  }

  async load(size: Size) {
    const device = (process.env.BENCH_DEVICE ?? 'cpu') as 'cpu' | 'cuda'
    const precision = (process.env.BENCH_PRECISION ?? 'auto') as 'auto' | 'fp32' | 'int8'
    this.#size = size
    this.#image = square(testImage(size), size.imageSize)
    this.#model = await this.#library.SegSam.load(size.bundle, { device, precision })
    const { libtorch, threads, cpuCapability, bf16 } = this.#library.runtimeInfo()
    return {
      libtorch,
      precision: this.#model.info.precision,
      threads: String(threads),
      instructions: cpuCapability,
      bf16,
    }
  }

  async encode() {
    const scene = await this.#model.encode(this.#image)
    this.#scene?.dispose()
    this.#scene = scene
  }

  async decode(prompts: number) {
    read(await this.#scene!.segment(clickPrompts(this.#size.imageSize, prompts), { multimask: false }))
  }

  async decodeInPlace(prompts: number) {
    const { imageSize } = this.#size
    const bytes = prompts * imageSize ** 2
    const out = takeOf(this.#outs, bytes) ?? new Uint8Array(new SharedArrayBuffer(bytes))
    await this.#scene!.segment(clickPrompts(imageSize, prompts), { multimask: false, out })
    this.#outs.push(out)
  }

  async encodeOriginal() {
    this.#sceneOfOriginal?.dispose()
    this.#sceneOfOriginal = await this.#model.encode(this.#original())
  }

  async click() {
    read(await this.#sceneOfOriginal!.segment(clickPrompts(this.#size.originalSide, 1), { multimask: false }))
  }

  async request(index: number) {
    const images = this.#mixed()
    const scene = await this.#model.encode(images[index % images.length]!)
    read(await scene.segment([{ points: [{ x: 20, y: 20 }] }], { multimask: false }))
    scene.dispose()
  }

  async outputs() {
    const prompts = clickPrompts(this.#size.imageSize, this.#size.checkedPrompts)
    await this.encode()
    const hits = await this.#scene!.segment(prompts)
    const logits = hits.flatMap(({ masks }) => masks.map((proposal) => [...proposal.logits]))
    const iou = hits.flatMap(({ masks }) => masks.map(({ predictedIou }) => predictedIou))
    return Float32Array.from([...logits.flat(), ...iou])
  }
}

/** The bytes of masks are made when they are first read. */
function read(hits: Hit[]): void {
  for (const { mask } of hits) if (mask.data.length === 0) throw new Error('a mask without pixels')
}

function clickPrompts(side: number, count: number): Prompt[] {
  return clicks(side, count).map((point) => ({ points: [point] }))
}

/** Takes one of `bytes` out of the list. */
function takeOf(outs: Uint8Array[], bytes: number): Uint8Array | undefined {
  const index = outs.findIndex(({ length }) => length === bytes)
  return index < 0 ? undefined : outs.splice(index, 1)[0]
}

function square(data: Uint8Array, side: number): MedicalImage {
  return { data, width: side, height: side, channels: 3 }
}

function scaled(side: number, scale: number): MedicalImage {
  return square(gradient(Math.round(side * scale)), Math.round(side * scale))
}

await serve(new SegSamPeer())

import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** What `models/peers/make.py` wrote about one set of weights, in `peer.json`. */
export interface Size {
  name: string
  folder: string
  /** Folder of the bundle, absolute. */
  bundle: string
  imageSize: number
  maskSize: number
  /** Side of the original image that a click's mask is drawn on. */
  originalSide: number
  /** Expected outputs are stored for so many prompts; 0: none. */
  checkedPrompts: number
  /** There is a folder of Hugging Face's with a `SamModel`. */
  huggingFace: boolean
  onnx: boolean
  tokens: number[]
  /** Of all parameters in float32. */
  weightBytes: number | null
  flops: { encode: number; both: Flops; sam: Flops | null } | null
}

/** Of a decode: once, and for each prompt. */
export interface Flops {
  once: number
  each: number
}

export function flopsOf({ once, each }: Flops, prompts: number): number {
  return once + prompts * each
}

export const FIXTURE = 'fixture'

/** @param cache folder that `make.py` wrote into */
export function readSize(name: string, cache: string): Size {
  if (name === FIXTURE) return fixture()
  const folder = join(cache, name)
  const described = JSON.parse(readFileSync(join(folder, 'peer.json'), 'utf8'))
  return { ...described, folder, bundle: resolve(folder, described.bundle) }
}

export function isMade(name: string, cache: string): boolean {
  return name === FIXTURE || existsSync(join(cache, name, 'peer.json'))
}

/** The micro bundle of the tests: to try the benchmark itself, without peers. */
function fixture(): Size {
  const bundle = resolve('test/fixtures/bundle')
  const { image_size, mask_size } = JSON.parse(readFileSync(join(bundle, 'manifest.json'), 'utf8'))
  return {
    name: FIXTURE,
    folder: bundle,
    bundle,
    imageSize: image_size,
    maskSize: mask_size,
    originalSide: 256,
    checkedPrompts: 0,
    huggingFace: false,
    onnx: false,
    tokens: [],
    weightBytes: null,
    flops: null,
  }
}

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Size } from '../size.js'

/** Clicks (count, 2) in pixels, those of `prompts_for` in models/peers/sizes.py. */
export function clicks(side: number, count: number): { x: number; y: number }[] {
  return Array.from({ length: count }, (_, i) => ({ x: (i * 37 + 11) % side, y: (i * 59 + 23) % side }))
}

/** The image (S, S, 3) that every runtime encodes. */
export function testImage({ folder, imageSize }: Size): Uint8Array {
  const file = join(folder, 'image.rgb')
  return existsSync(file) ? new Uint8Array(readFileSync(file)) : gradient(imageSize)
}

/** Made when it is first asked for, so that the start of a runtime does not count it. */
export function lazily<T>(make: () => T): () => T {
  let made: { value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

/** A square RGB image: what the click's latency is measured on, and where nothing else is stored. */
export function gradient(side: number): Uint8Array {
  return Uint8Array.from({ length: side * side * 3 }, (_, i) => {
    const [x, y] = [Math.floor(i / 3) % side, Math.floor(i / 3 / side)]
    const inside = Math.hypot(x - side / 2, y - side / 2) < side / 4
    return inside ? 200 : Math.floor((90 * (x + y)) / (2 * side))
  })
}

export function floats(folder: string, name: string): Float32Array {
  const bytes = readFileSync(join(folder, name))
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
}

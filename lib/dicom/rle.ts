import { damaged } from '../files/limits.js'

/**
 * One frame of RLE Lossless (PS3.5 annex G) as little-endian samples, colours interleaved. No npm package does this alone.
 *
 * @throws SegSamError `INVALID_IMAGE`
 */
export function decodeRle(frame: Uint8Array, pixels: number, samples: number, bytesPerSample: number, name: string) {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  const segments = frame.length >= 64 ? view.getUint32(0, true) : 0
  if (segments !== samples * bytesPerSample) {
    throw damaged(name, `a frame has ${segments} RLE segments in place of ${samples * bytesPerSample}`)
  }
  const decoded = new Uint8Array(pixels * segments)
  for (let segment = 0; segment < segments; segment++) {
    const start = view.getUint32(4 + 4 * segment, true)
    const end = segment + 1 < segments ? view.getUint32(8 + 4 * segment, true) : frame.length
    if (start < 64 || end > frame.length || start > end) throw damaged(name, 'an RLE segment lies outside its frame')
    // The most significant byte of a sample comes first.
    const [sample, byte] = [Math.floor(segment / bytesPerSample), bytesPerSample - 1 - (segment % bytesPerSample)]
    const written = unpackBits(frame.subarray(start, end), decoded, sample * bytesPerSample + byte, segments, pixels)
    if (written < pixels) throw damaged(name, `an RLE segment has ${written} of ${pixels} bytes`)
  }
  return decoded
}

/** @returns number of bytes written, at most `count`, each `step` after the one before */
function unpackBits(packed: Uint8Array, target: Uint8Array, start: number, step: number, count: number): number {
  let written = 0
  for (let i = 0; i < packed.length && written < count; ) {
    const control = packed[i++]!
    if (control === 128) continue
    const isRun = control > 128
    const length = Math.min(isRun ? 257 - control : control + 1, count - written)
    if (i + (isRun ? 1 : length) > packed.length) break
    for (let k = 0; k < length; k++) target[start + step * written++] = packed[isRun ? i : i + k]!
    i += isRun ? 1 : control + 1
  }
  return written
}

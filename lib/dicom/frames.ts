import { damaged } from '../files/limits.js'
import type { DicomDataset } from './dataset.js'
import type { ImageAttributes } from './image-attributes.js'

/** The compressed bytes of each frame (PS3.5 A.4). */
export function encapsulatedFrames(dataset: DicomDataset, attributes: ImageAttributes, name: string): Uint8Array[] {
  const { frames, pixelTag } = attributes
  const element = dataset.element(pixelTag)!
  if (!element.encapsulatedPixelData || !element.fragments?.length) throw damaged(name, 'it has no compressed pixels')
  const fragments = element.fragments.map(({ position, length, offset }) => ({
    offset,
    bytes: dataset.bytes({ dataOffset: position, length }),
  }))
  const groups = new Array<Uint8Array[]>(frames)
  const starts = startsOf(fragments, element.basicOffsetTable ?? [], frames)
  if (!starts) throw damaged(name, `its ${fragments.length} compressed pieces cannot be divided into ${frames} frames`)
  for (let frame = 0; frame < frames; frame++) {
    groups[frame] = fragments.slice(starts[frame], starts[frame + 1]).map(({ bytes }) => bytes)
  }
  return groups.map((parts) => (parts.length === 1 ? parts[0]! : Buffer.concat(parts)))
}

/** For each frame the number of its first fragment, `undefined` where it cannot be told. */
function startsOf(
  fragments: readonly { offset: number; bytes: Uint8Array }[],
  offsetTable: readonly number[],
  frames: number,
): number[] | undefined {
  if (frames === 1) return [0]
  if (fragments.length === frames) return fragments.map((_, i) => i)
  if (offsetTable.length === frames) {
    const starts = offsetTable.map((offset) => fragments.findIndex((fragment) => fragment.offset === offset))
    if (starts.every((start, i) => start >= 0 && (i === 0 || start > starts[i - 1]!))) return starts
  }
  const starts = fragments.flatMap(({ bytes }, i) => (beginsImage(bytes) ? [i] : []))
  return starts.length === frames && starts[0] === 0 ? starts : undefined
}

/** The start of image of JPEG and JPEG-LS, or the start of codestream of JPEG 2000. */
function beginsImage(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && (bytes[1] === 0xd8 || bytes[1] === 0x4f)
}

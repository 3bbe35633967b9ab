import type { DicomDataset } from './dataset.js'

export interface LookupDescriptor {
  /** Number of entries. */
  length: number
  /** Value that the first entry is for. */
  first: number
  bits: number
}

/** Three numbers that describe a table (PS3.3 C.11.1.1.1); 0 entries stand for 65536. */
export function lookupDescriptor(dataset: DicomDataset, tag: string, isSigned: boolean): LookupDescriptor | undefined {
  const [length, first, bits] = dataset.shorts(tag)
  if (length === undefined || first === undefined || bits === undefined || bits < 1 || bits > 16) return undefined
  return { length: length || 0x10000, first: isSigned ? (first << 16) >> 16 : first, bits }
}

/** The entries; 8-bit ones may be packed one a byte. `undefined` where there are fewer than described. */
export function lookupValues(
  dataset: DicomDataset,
  tag: string,
  { length, bits }: LookupDescriptor,
): Uint16Array | undefined {
  const element = dataset.element(tag)
  if (!element) return undefined
  const bytes = dataset.bytes(element)
  if (bits <= 8 && bytes.length < 2 * length) {
    if (bytes.length < length) return undefined
    return Uint16Array.from(bytes.subarray(0, length))
  }
  const values = dataset.shorts(tag)
  return values.length < length ? undefined : Uint16Array.from(values.slice(0, length))
}

import type { VolumeWarning, VoxelData } from '../volume.js'

/** Numbers as a file stores them. */
export type RawData =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array

export interface RawType {
  new (buffer: ArrayBuffer): RawData
  readonly BYTES_PER_ELEMENT: number
}

/** Copies bytes into numbers of this machine's order, for the bytes may lie at any address. */
export function numbersFrom(bytes: Uint8Array, Type: RawType, littleEndian: boolean): RawData {
  const size = Type.BYTES_PER_ELEMENT
  const copy = Buffer.alloc(Math.floor(bytes.length / size) * size)
  copy.set(bytes.subarray(0, copy.length))
  if (!littleEndian) {
    if (size === 2) copy.swap16()
    if (size === 4) copy.swap32()
    if (size === 8) copy.swap64()
  }
  return new Type(copy.buffer.slice(copy.byteOffset, copy.byteOffset + copy.length))
}

export interface Physical {
  data: VoxelData
  /** Values that a 32-bit float cannot hold were rounded. */
  rounded: boolean
  /** Some values are NaN or infinite. */
  notFinite: boolean
}

/**
 * `raw * slope + intercept`: as it is where that changes nothing, else whole numbers in the smallest type that holds them
 * all, else 32-bit floats.
 */
export function physical(raw: RawData, slope: number, intercept: number): Physical {
  if (slope === 1 && intercept === 0) {
    if (raw instanceof Uint8Array || raw instanceof Uint16Array || raw instanceof Int16Array) {
      return { data: raw, rounded: false, notFinite: false }
    }
  }
  const isFloat = raw instanceof Float32Array || raw instanceof Float64Array
  const isWhole = !isFloat && Number.isInteger(slope) && Number.isInteger(intercept)
  if (isWhole) {
    const Type = integerType(raw, slope, intercept)
    if (Type) {
      const data = new Type(raw.length)
      for (let i = 0; i < data.length; i++) data[i] = Number(raw[i]!) * slope + intercept
      return { data, rounded: false, notFinite: false }
    }
  }
  const data = new Float32Array(raw.length)
  let [rounded, notFinite] = [false, false]
  const isExpectedExact = raw.BYTES_PER_ELEMENT > 4 || isWhole
  for (let i = 0; i < data.length; i++) {
    const stored = raw[i]!
    const value = Number(stored) * slope + intercept
    data[i] = value
    if (!Number.isFinite(data[i]!)) notFinite = true
    else if (isExpectedExact && (data[i] !== value || isBeyondDouble(stored))) rounded = true
  }
  return { data, rounded, notFinite }
}

function isBeyondDouble(value: number | bigint): boolean {
  return typeof value === 'bigint' && BigInt(Number(value)) !== value
}

function integerType(raw: RawData, slope: number, intercept: number) {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (let i = 0; i < raw.length; i++) {
    const value = Number(raw[i]!)
    if (value < low) low = value
    if (value > high) high = value
  }
  if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high)) return undefined
  const ends = [low * slope + intercept, high * slope + intercept]
  const [first, last] = [Math.min(...ends), Math.max(...ends)]
  if (first >= 0 && last <= 0xff) return Uint8Array
  if (first >= -0x8000 && last <= 0x7fff) return Int16Array
  if (first >= 0 && last <= 0xffff) return Uint16Array
  return undefined
}

/** One array of several, in a type that holds them all exactly: of unlike integers, or of floats, 32-bit floats. */
export function joined(parts: readonly VoxelData[]): VoxelData {
  const [first] = parts
  if (parts.length === 1) return first!
  const types = new Set(parts.map((part) => part.constructor))
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  const isSigned = types.size === 2 && types.has(Uint8Array) && types.has(Int16Array)
  const Type = types.size === 1 ? (first!.constructor as typeof Float32Array) : isSigned ? Int16Array : Float32Array
  const whole = new Type(length)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

export function withoutAlpha(rgba: Uint8Array): Uint8Array {
  return rgba.filter((_, i) => i % 4 !== 3)
}

/** What is to be said of the values of a volume, read in one part or several. */
export function warningsOfValues(parts: readonly Pick<Physical, 'rounded' | 'notFinite'>[]): VolumeWarning[] {
  const warnings: VolumeWarning[] = []
  if (parts.some(({ rounded }) => rounded)) {
    warnings.push({ code: 'ROUNDED', message: 'Some values were rounded to 32-bit floats.' })
  }
  if (parts.some(({ notFinite }) => notFinite)) {
    warnings.push({ code: 'NOT_FINITE', message: 'Some voxels are NaN or infinite.' })
  }
  return warnings
}

import { unexpected } from '../errors.js'
import { type Affine, affineOf, cross, norm, scale, type Vector } from '../volume/affine.js'
import { damaged } from './limits.js'

/** What is known of a NRRD or MetaImage file before its voxels are decoded. */
export interface ItkHeader {
  /** Of all axes, in the order of the file. */
  sizes: readonly number[]
  /** Of NRRD, in lower case, for example `gzip`; `null` of MetaImage. */
  encoding: string | null
  /** The voxels lie in other files, which the header names. */
  isDetached: boolean
  /** It says how the patient lies. */
  hasGeometry: boolean
  /** Of NRRD with a space; `null`: as ITK has it, which mirrors left-anterior-superior. */
  affine: Affine | null
  /** From stored to physical values: `stored * slope + intercept`. */
  slope: number
  intercept: number
}

/** Headers are text; what comes after this many bytes is not looked at. */
const HEADER_BYTES = 2 ** 16

const ANATOMICAL_SPACE = /^(?:(right|left)-(anterior|posterior)-superior|([rl])([ap])s)(?:-time|t)?$/i

/** Of a unit of length; what is unknown counts as mm. */
const MILLIMETRES: Record<string, number> = { mm: 1, m: 1000, cm: 10, um: 0.001, µm: 0.001, nm: 1e-6 }

export function isNrrd(bytes: Buffer): boolean {
  return /^NRRD\d{4}\r?\n/.test(bytes.toString('latin1', 0, 10))
}

export function isMetaImage(bytes: Buffer): boolean {
  return /^(Comment|ObjectType|ObjectSubType|TransformType|NDims|Name|ID) *=/.test(bytes.toString('latin1', 0, 64))
}

/**
 * Source: "Definition of NRRD File Format" (http://teem.sourceforge.net/nrrd/format.html).
 *
 * @throws SegSamError `INVALID_IMAGE`
 */
export function nrrdHeader(content: Uint8Array, name: string): ItkHeader {
  const fields = new Map<string, string>()
  for (const line of linesOf(content)) {
    if (line === '') break
    const field = /^([^#:][^:]*): (.*)$/.exec(line)
    if (field) fields.set(field[1]!.toLowerCase(), field[2]!.trim())
  }
  const affine = affineOfSpace(fields, name)
  return {
    sizes: sizesOf(fields.get('sizes'), name),
    encoding: (fields.get('encoding') ?? 'raw').toLowerCase(),
    isDetached: fields.has('data file') || fields.has('datafile'),
    hasGeometry: affine !== null,
    affine,
    slope: 1,
    intercept: 0,
  }
}

/**
 * Source: MetaIO's documentation (https://docs.itk.org/en/latest/learn/metaio.html).
 *
 * @throws SegSamError `INVALID_IMAGE`
 */
export function metaImageHeader(content: Uint8Array, name: string): ItkHeader {
  const fields = new Map<string, string>()
  for (const line of linesOf(content)) {
    const field = /^(\w+)\s*=\s*(.*)$/.exec(line)
    if (field) fields.set(field[1]!, field[2]!.trim())
    if (field?.[1] === 'ElementDataFile') break
  }
  const numberOf = (key: string, otherwise: number) => {
    const value = Number(fields.get(key) ?? otherwise)
    if (Number.isFinite(value)) return value
    throw unexpected('INVALID_IMAGE', `${key} of ${name}`, fields.get(key), 'a number')
  }
  const channels = numberOf('ElementNumberOfChannels', 1)
  return {
    sizes: [...sizesOf(fields.get('DimSize'), name), ...(channels === 1 ? [] : [channels])],
    encoding: null,
    isDetached: !/^local$/i.test(fields.get('ElementDataFile') ?? ''),
    hasGeometry: ['TransformMatrix', 'Rotation', 'Orientation'].some((key) => fields.has(key)),
    affine: null,
    slope: numberOf('ElementToIntensityFunctionSlope', 1),
    intercept: numberOf('ElementToIntensityFunctionOffset', 0),
  }
}

/** In LPS and mm; `null` where the header does not say how the axes lie in the patient. */
function affineOfSpace(fields: ReadonlyMap<string, string>, name: string): Affine | null {
  const space = ANATOMICAL_SPACE.exec(fields.get('space') ?? '')
  const vectors = vectorsOf(fields.get('space directions'))
  if (!space || vectors.length < 2) return null
  const unit = /"([^"]*)"/.exec(fields.get('space units') ?? '')?.[1] ?? 'mm'
  const millimetres = MILLIMETRES[unit] ?? 1
  const [side, face] = [space[1] ?? space[3]!, space[2] ?? space[4]!]
  const signs = [/^r/i.test(side) ? -1 : 1, /^a/i.test(face) ? -1 : 1, 1]
  const [i, j] = [toLps(vectors[0]!), toLps(vectors[1]!)]
  // A picture in space has no third axis.
  const k = vectors[2] ? toLps(vectors[2]) : scale(cross(i, j), 1 / (norm(cross(i, j)) || 1))
  const [origin = [0, 0, 0]] = vectorsOf(fields.get('space origin'))
  const affine = affineOf([i, j, k], toLps(origin))
  if (affine.every(Number.isFinite)) return affine
  throw damaged(name, 'its position in space is not finite')

  function toLps(vector: readonly number[]): Vector {
    const component = (row: number) => (vector[row] ?? 0) * signs[row]! * millimetres || 0
    return [component(0), component(1), component(2)]
  }
}

/** `none (1,0,0) (0,1,0)`: an axis that is none of space has no vector. */
function vectorsOf(field = ''): number[][] {
  return [...field.matchAll(/\(([^)]*)\)/g)].map(([, numbers]) => numbers!.split(',').map(Number))
}

function linesOf(content: Uint8Array): string[] {
  return Buffer.from(content.buffer, content.byteOffset, Math.min(content.byteLength, HEADER_BYTES))
    .toString('latin1')
    .split(/\r?\n/)
}

function sizesOf(field: string | undefined, name: string): number[] {
  if (field === undefined) throw damaged(name, 'its header has no sizes')
  const sizes = field.split(/\s+/).map(Number)
  if (sizes.every((size) => Number.isSafeInteger(size) && size > 0)) return sizes
  throw unexpected('INVALID_IMAGE', `the size of ${name}`, field, 'whole numbers, at least 1')
}

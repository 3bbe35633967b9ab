import { SegSamError, unexpected } from '../errors.js'
import { type Affine, affineOf, cross, dot, norm, scale, type Vector } from '../volume/affine.js'
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
  /** Of the unit in which the file gives lengths. */
  millimetres: number
  /** MetaImage's voxels are a zlib stream, of this many bytes once unfolded. */
  unfoldsTo: number | null
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
const MILLIMETRES: Record<string, number> = {
  mm: 1,
  m: 1000,
  cm: 10,
  um: 0.001,
  '\u00b5m': 0.001,
  '\u03bcm': 0.001,
  nm: 1e-6,
}

/** Of an `ElementType`; the 32 bits of MET_LONG become 64 in ITK's build, and are not read. */
const META_BYTES: Record<string, number> = {
  MET_UCHAR: 1,
  MET_CHAR: 1,
  MET_USHORT: 2,
  MET_SHORT: 2,
  MET_UINT: 4,
  MET_INT: 4,
  MET_ULONG_LONG: 8,
  MET_LONG_LONG: 8,
  MET_FLOAT: 4,
  MET_DOUBLE: 8,
}

/** The compressed voxels behind the header of a MetaImage. */
export function voxelsBehind(content: Uint8Array): Uint8Array {
  const text = Buffer.from(content.buffer, content.byteOffset, Math.min(content.byteLength, HEADER_BYTES)).toString(
    'latin1',
  )
  const line = /^ElementDataFile\s*=[^\n]*\n/m.exec(text)
  return content.subarray(line ? line.index + line[0].length : content.length)
}

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
  const unit = /"([^"]*)"/.exec(fields.get('space units') ?? fields.get('units') ?? '')?.[1]
  const millimetres = MILLIMETRES[unit ?? 'mm'] ?? 1
  const affine = affineOfSpace(fields, name, millimetres)
  return {
    sizes: sizesOf(fields.get('sizes'), name),
    encoding: (fields.get('encoding') ?? 'raw').toLowerCase(),
    isDetached: fields.has('data file') || fields.has('datafile'),
    hasGeometry: affine !== null,
    millimetres,
    unfoldsTo: null,
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
  const type = (fields.get('ElementType') ?? '').replace(/_ARRAY$/, '')
  const bytes = META_BYTES[type]
  if (bytes === undefined || /^false$/i.test(fields.get('BinaryData') ?? '')) {
    throw new SegSamError(
      'UNSUPPORTED_FORMAT',
      `${name} is MetaImage with ${bytes === undefined ? `ElementType ${type}` : 'voxels as text'}; allowed: binary voxels ` +
        `of ${Object.keys(META_BYTES).join(', ')}. Save it again as one of them.`,
    )
  }
  const isCompressed = /^(true|1)$/i.test(fields.get('CompressedData') ?? '')
  if (isCompressed && !fields.has('CompressedDataSize')) {
    throw new SegSamError(
      'UNSUPPORTED_FORMAT',
      `${name} is a compressed MetaImage without CompressedDataSize. Save it again with it, or uncompressed.`,
    )
  }
  const sizes = [...sizesOf(fields.get('DimSize'), name), ...(channels === 1 ? [] : [channels])]
  return {
    sizes,
    encoding: null,
    isDetached: !/^local$/i.test(fields.get('ElementDataFile') ?? ''),
    hasGeometry: ['TransformMatrix', 'Rotation', 'Orientation'].some((key) => fields.has(key)),
    millimetres: MILLIMETRES[fields.get('DistanceUnits') ?? 'mm'] ?? 1,
    unfoldsTo: isCompressed ? sizes.reduce((product, size) => product * size, bytes) : null,
    affine: null,
    slope: numberOf('ElementToIntensityFunctionSlope', 1),
    intercept: numberOf('ElementToIntensityFunctionOffset', 0),
  }
}

/** In LPS and mm; `null` where the header does not say how the axes lie in the patient. */
function affineOfSpace(fields: ReadonlyMap<string, string>, name: string, millimetres: number): Affine | null {
  const space = ANATOMICAL_SPACE.exec(fields.get('space') ?? '')
  const vectors = vectorsOf(fields.get('space directions'))
  if (!space || vectors.length < 2) return null
  const [side, face] = [space[1] ?? space[3]!, space[2] ?? space[4]!]
  const signs = [/^r/i.test(side) ? -1 : 1, /^a/i.test(face) ? -1 : 1, 1]
  const [i, j] = [toLps(vectors[0]!), toLps(vectors[1]!)]
  // A picture in space has no third axis.
  const k = vectors[2] ? toLps(vectors[2]) : scale(cross(i, j), 1 / (norm(cross(i, j)) || 1))
  const [origin = [0, 0, 0]] = vectorsOf(fields.get('space origin'))
  const affine = affineOf([i, j, k], toLps(origin))
  if (affine.every(Number.isFinite) && dot(cross(i, j), k) !== 0) return affine
  throw damaged(name, 'its directions or its origin in space are no numbers, or lie in one plane')

  function toLps(vector: readonly number[]): Vector {
    const component = (row: number) => (vector[row] ?? 0) * signs[row]! * millimetres + 0
    return [component(0), component(1), component(2)]
  }
}

/** `none (1,0,0) (0,1,0)`: an axis that is none of space has no vector. */
function vectorsOf(field = ''): number[][] {
  return [...field.matchAll(/\(([^)]*)\)/g)].map(([, numbers]) => numbers!.split(',').map(Number))
}

function linesOf(content: Uint8Array): string[] {
  return Buffer.from(content.buffer, content.byteOffset, Math.min(content.byteLength, HEADER_BYTES))
    .toString('utf8')
    .split(/\r?\n/)
}

function sizesOf(field: string | undefined, name: string): number[] {
  if (field === undefined) throw damaged(name, 'its header has no sizes')
  const sizes = field.split(/\s+/).map(Number)
  if (sizes.every((size) => Number.isSafeInteger(size) && size > 0)) return sizes
  throw unexpected('INVALID_IMAGE', `the size of ${name}`, field, 'whole numbers, at least 1')
}

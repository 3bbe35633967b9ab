import { inflateRawSync } from 'node:zlib'
import dicomParser, { type DataSet, type Element } from 'dicom-parser'
import { SegSamError } from '../errors.js'
import { hasVr } from '../files/format.js'
import { damaged, maxUnpackedBytes } from '../files/limits.js'

export const IMPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2'
export const EXPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2.1'
export const DEFLATED_LITTLE_ENDIAN = '1.2.840.10008.1.2.1.99'
export const EXPLICIT_BIG_ENDIAN = '1.2.840.10008.1.2.2'

/**
 * The elements of a DICOM file or of an item of a sequence, found by dicom-parser. Errors here tell neither values nor
 * their cause, for both may hold what the file says of the patient.
 */
export class DicomDataset {
  readonly #set: DataSet
  readonly littleEndian: boolean

  constructor(set: DataSet, littleEndian: boolean) {
    this.#set = set
    this.littleEndian = littleEndian
  }

  /** @param tag group and element as dicom-parser has them: `x00280010` */
  element(tag: string): Element | undefined {
    return this.#set.elements[tag]
  }

  bytes({ dataOffset, length }: { dataOffset: number; length: number }): Uint8Array {
    return this.#set.byteArray.subarray(dataOffset, dataOffset + length)
  }

  get allBytes(): Uint8Array {
    return this.#set.byteArray
  }

  /** Without padding; `undefined` where it is absent or empty. */
  text(tag: string): string | undefined {
    const element = this.element(tag)
    if (!element || element.length <= 0) return undefined
    const text = Buffer.from(this.bytes(element)).toString('latin1')
    return text.replaceAll(/\0/g, '').trim() || undefined
  }

  /** Values of a string with backslashes between them. */
  texts(tag: string): string[] {
    return (this.text(tag) ?? '').split('\\').map((part) => part.trim())
  }

  /** The first value of a decimal or integer string, `undefined` where it is no number. */
  decimal(tag: string): number | undefined {
    return this.decimals(tag)?.[0]
  }

  /** All values of a decimal string, `undefined` where one of them is no number. */
  decimals(tag: string): number[] | undefined {
    if (this.text(tag) === undefined) return undefined
    const values = this.texts(tag).map((part) => (part === '' ? Number.NaN : Number(part)))
    return values.every(Number.isFinite) ? values : undefined
  }

  /** Values of 16 bits. */
  shorts(tag: string): number[] {
    const element = this.element(tag)
    if (!element || element.length < 2) return []
    const bytes = this.bytes(element)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return Array.from({ length: bytes.byteLength >> 1 }, (_, i) => view.getUint16(2 * i, this.littleEndian))
  }

  short(tag: string): number | undefined {
    return this.shorts(tag)[0]
  }

  items(tag: string): DicomDataset[] {
    const items = this.element(tag)?.items ?? []
    return items.flatMap(({ dataSet }) => (dataSet ? [new DicomDataset(dataSet, this.littleEndian)] : []))
  }

  item(tag: string): DicomDataset | undefined {
    return this.items(tag)[0]
  }
}

export interface DicomFile {
  dataset: DicomDataset
  transferSyntax: string
}

/**
 * @param maxVoxels bounds what a deflated file may unfold to
 * @throws SegSamError `INVALID_IMAGE`
 */
export function parseDicom(content: Uint8Array, name: string, maxVoxels: number): DicomFile {
  const file = withPreamble(content)
  try {
    const set = dicomParser.parseDicom(file.bytes, {
      ...(file.transferSyntax && { TransferSyntaxUID: file.transferSyntax }),
      inflater: (bytes: Uint8Array, position: number) => inflated(bytes, position, name, maxVoxels),
    })
    const meta = new DicomDataset(set, true)
    const transferSyntax = file.transferSyntax ?? meta.text('x00020010') ?? IMPLICIT_LITTLE_ENDIAN
    return { dataset: new DicomDataset(set, transferSyntax !== EXPLICIT_BIG_ENDIAN), transferSyntax }
  } catch (cause) {
    if (cause instanceof SegSamError) throw cause
    // dicom-parser throws strings, and objects that hold the data set.
    throw damaged(name, 'its DICOM elements cannot be told apart')
  }
}

/** Old files begin with their first element; the transfer syntax then shows in how that is written. */
function withPreamble(content: Uint8Array): { bytes: Uint8Array; transferSyntax?: string } {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength)
  if (bytes.toString('latin1', 128, 132) === 'DICM') return { bytes }
  const group = bytes.readUInt16LE(0)
  if (group === 0x0002) return { bytes: Buffer.concat([Buffer.alloc(128), Buffer.from('DICM'), bytes]) }
  if (group === 0x0800) return { bytes, transferSyntax: EXPLICIT_BIG_ENDIAN }
  return { bytes, transferSyntax: hasVr(bytes) ? EXPLICIT_LITTLE_ENDIAN : IMPLICIT_LITTLE_ENDIAN }
}

function inflated(bytes: Uint8Array, position: number, name: string, maxVoxels: number): Uint8Array {
  const maxOutputLength = maxUnpackedBytes(maxVoxels)
  try {
    const rest = inflateRawSync(bytes.subarray(position), { maxOutputLength })
    return Buffer.concat([bytes.subarray(0, position), rest])
  } catch (cause) {
    throw damaged(
      name,
      `its deflated part cannot be unfolded to at most ${maxOutputLength} bytes (${(cause as NodeJS.ErrnoException).code})`,
    )
  }
}

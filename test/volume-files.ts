/** Small DICOM and NIfTI files for tests, written element by element as the standards have it. */

/** An element of explicit VR little endian: tag, VR, and its value as text, 16-bit numbers, bytes or items. */
export type DicomElement = [tag: number, vr: string, value: string | number[] | Uint8Array | DicomElement[][]]

const LONG = ['OB', 'OW', 'SQ', 'UN', 'UT']

function elementBytes([tag, vr, value]: DicomElement): Buffer {
  let bytes = valueBytes(vr, value)
  if (bytes.length % 2 === 1) bytes = Buffer.concat([bytes, Buffer.from(vr === 'UI' || vr === 'OB' ? '\0' : ' ')])
  const head = Buffer.alloc(LONG.includes(vr) ? 12 : 8)
  head.writeUInt16LE(tag >>> 16, 0)
  head.writeUInt16LE(tag & 0xffff, 2)
  head.write(vr, 4, 'latin1')
  if (head.length === 12) head.writeUInt32LE(bytes.length, 8)
  else head.writeUInt16LE(bytes.length, 6)
  return Buffer.concat([head, bytes])
}

function valueBytes(vr: string, value: DicomElement[2]): Buffer {
  if (typeof value === 'string') return Buffer.from(value, 'latin1')
  if (value instanceof Uint8Array) return Buffer.from(value)
  if (vr !== 'SQ') {
    const bytes = Buffer.alloc(2 * value.length)
    for (const [i, number] of (value as number[]).entries()) bytes.writeUInt16LE(number & 0xffff, 2 * i)
    return bytes
  }
  return Buffer.concat(
    (value as DicomElement[][]).map((elements) => {
      const item = Buffer.concat(elements.map(elementBytes))
      const head = Buffer.from([0xfe, 0xff, 0x00, 0xe0, 0, 0, 0, 0])
      head.writeUInt32LE(item.length, 4)
      return Buffer.concat([head, item])
    }),
  )
}

/** Elements sorted by tag; a later one takes the place of an earlier one with its tag. */
export function dicomFile(elements: readonly DicomElement[], transferSyntax = '1.2.840.10008.1.2.1'): Buffer {
  const byTag = new Map(elements.map((element) => [element[0], element]))
  const sorted = [...byTag.values()].sort(([a], [b]) => a - b)
  const meta = elementBytes([0x00020010, 'UI', transferSyntax])
  return Buffer.concat([Buffer.alloc(128), Buffer.from('DICM'), meta, ...sorted.map(elementBytes)])
}

export interface CtSlice {
  width?: number
  height?: number
  /** Of the first pixel, mm. */
  position?: readonly [number, number, number]
  orientation?: string
  instance?: number
  series?: string
  /** Hounsfield units. */
  values?: ArrayLike<number>
}

/** A CT slice, 16 bits unsigned with intercept -1024 and the window 40, 400. */
export function ctSlice({
  width = 6,
  height = 5,
  position = [-10, -20, 30],
  orientation = '1\\0\\0\\0\\1\\0',
  instance = 1,
  series = '1.2.3.4',
  values = Int16Array.from({ length: width * height }, (_, i) => 10 * i - 1000),
}: CtSlice = {}): DicomElement[] {
  return [
    [0x00080016, 'UI', '1.2.840.10008.5.1.4.1.1.2'],
    [0x00080018, 'UI', `1.2.3.5.${instance}`],
    [0x00080060, 'CS', 'CT'],
    [0x00100010, 'PN', 'Secret^Patient'],
    [0x00180050, 'DS', '2.5'],
    [0x0020000d, 'UI', '1.2.3'],
    [0x0020000e, 'UI', series],
    [0x00200013, 'IS', `${instance}`],
    [0x00200032, 'DS', position.join('\\')],
    [0x00200037, 'DS', orientation],
    [0x00200052, 'UI', '1.2.3.6'],
    [0x00280002, 'US', [1]],
    [0x00280004, 'CS', 'MONOCHROME2'],
    [0x00280010, 'US', [height]],
    [0x00280011, 'US', [width]],
    [0x00280030, 'DS', '0.75\\0.5'],
    [0x00280100, 'US', [16]],
    [0x00280101, 'US', [12]],
    [0x00280102, 'US', [11]],
    [0x00280103, 'US', [0]],
    [0x00281050, 'DS', '40'],
    [0x00281051, 'DS', '400'],
    [0x00281052, 'DS', '-1024'],
    [0x00281053, 'DS', '1'],
    [0x7fe00010, 'OW', Array.from(values, (value) => value + 1024)],
  ]
}

/** A NIfTI-1 file of 16-bit integers with an sform, little endian. */
export function niftiFile(shape: readonly number[], values: ArrayLike<number>, sform: readonly number[]): Buffer {
  const header = Buffer.alloc(352)
  header.writeInt32LE(348, 0)
  header.writeInt16LE(shape.length, 40)
  for (let i = 0; i < 7; i++) header.writeInt16LE(shape[i] ?? 1, 42 + 2 * i)
  header.writeInt16LE(4, 70)
  header.writeInt16LE(16, 72)
  for (let i = 0; i < 8; i++) header.writeFloatLE(1, 76 + 4 * i)
  header.writeFloatLE(352, 108)
  header.writeFloatLE(1, 112)
  header.writeInt16LE(1, 254)
  for (const [i, value] of sform.entries()) header.writeFloatLE(value, 280 + 4 * i)
  header.write('n+1\0', 344, 'latin1')
  const data = Buffer.from(Int16Array.from(values).buffer)
  return Buffer.concat([header, data])
}

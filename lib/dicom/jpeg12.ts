/**
 * Gray sequential JPEG of 12 bits with Huffman coding (ITU-T T.81, extended process 4). Written here because the kept
 * decoders of npm stop at 8 bits. Throws `Error` for damaged input.
 *
 * @param size that its header has, checked
 * @returns samples 0..4095, row by row
 */
export function decodeJpeg12(bytes: Uint8Array, size: { width: number; height: number }): Uint16Array {
  const { frame, scan } = segmentsOf(bytes)
  if (frame.width !== size.width || frame.height !== size.height) throw new Error('its size is not that of its header')
  const blocksAcross = Math.ceil(frame.width / 8)
  const blocksDown = Math.ceil(frame.height / 8)
  const reader = new BitReader(bytes, scan.start)
  const samples = new Uint16Array(frame.width * frame.height)
  const coefficients = new Float64Array(64)
  let dc = 0
  for (let block = 0; block < blocksAcross * blocksDown; block++) {
    if (scan.restartInterval > 0 && block > 0 && block % scan.restartInterval === 0) {
      reader.restart()
      dc = 0
    }
    dc = readBlock(reader, scan, dc, frame.quantization, coefficients)
    const [left, top] = [8 * (block % blocksAcross), 8 * Math.floor(block / blocksAcross)]
    writeBlock(inverseDct(coefficients), samples, frame, left, top)
  }
  return samples
}

/** Coefficient of the k-th place in zigzag order (figure A.6), row-major. */
const ZIGZAG = zigzag()

function zigzag(): number[] {
  const order: number[] = []
  for (let sum = 0; sum < 15; sum++) {
    const diagonal = Array.from({ length: 8 }, (_, i) => i).filter((i) => sum - i >= 0 && sum - i < 8)
    // Odd diagonals run down to the left, even ones up to the right.
    const rows = sum % 2 === 0 ? diagonal.toReversed() : diagonal
    order.push(...rows.map((row) => 8 * row + (sum - row)))
  }
  return order
}

interface Frame {
  width: number
  height: number
  quantization: readonly number[]
}

interface Scan {
  dc: HuffmanTable
  ac: HuffmanTable
  restartInterval: number
  /** Where the coded bits begin. */
  start: number
}

function segmentsOf(bytes: Uint8Array): { frame: Frame; scan: Scan } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const quantizations: number[][] = []
  const tables: HuffmanTable[] = []
  let restartInterval = 0
  let size: { width: number; height: number; table: number } | undefined
  for (let at = 2; ; ) {
    if (bytes[at] !== 0xff) throw new Error('a marker is missing')
    const marker = bytes[at + 1]!
    const length = view.getUint16(at + 2)
    const [start, end] = [at + 4, at + 2 + length]
    if (marker === 0xdb) readQuantization(view, start, end, quantizations)
    else if (marker === 0xc4) readHuffman(bytes, start, end, tables)
    else if (marker === 0xdd) restartInterval = view.getUint16(start)
    else if (marker === 0xc1) {
      if (size) throw new Error('a frame has two headers')
      if (bytes[start + 5] !== 1) throw new Error('only gray is read with 12 bits')
      size = { height: view.getUint16(start + 1), width: view.getUint16(start + 3), table: bytes[start + 8]! }
    } else if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc8 && marker !== 0xcc) {
      throw new Error('only sequential Huffman coding is read with 12 bits')
    } else if (marker === 0xda) {
      const selector = bytes[start + 2]!
      const [dc, ac] = [tables[selector >> 4], tables[0x10 | (selector & 15)]]
      const quantization = size && quantizations[size.table]
      if (!size || !quantization || !dc || !ac) throw new Error('a table is missing')
      return { frame: { ...size, quantization }, scan: { dc, ac, restartInterval, start: end } }
    }
    at = end
  }
}

function readQuantization(view: DataView, start: number, end: number, tables: number[][]): void {
  for (let at = start; at < end; ) {
    const head = view.getUint8(at++)
    const bytes = head >> 4 ? 2 : 1
    tables[head & 15] = Array.from({ length: 64 }, (_, k) =>
      bytes === 2 ? view.getUint16(at + 2 * k) : view.getUint8(at + k),
    )
    at += 64 * bytes
  }
}

/** Tables by their class (0 DC, 1 AC) times 16 and their number. */
function readHuffman(bytes: Uint8Array, start: number, end: number, tables: HuffmanTable[]): void {
  for (let at = start; at < end; ) {
    const head = bytes[at]!
    const counts = bytes.subarray(at + 1, at + 17)
    const total = counts.reduce((sum, count) => sum + count, 0)
    tables[head & 0x1f] = new HuffmanTable(counts, bytes.subarray(at + 17, at + 17 + total))
    at += 17 + total
  }
}

/** Canonical codes, decoded bit by bit as in figure F.16. */
class HuffmanTable {
  readonly #values: Uint8Array
  /** By the length of a code: the last code, and what to add to a code for its place in the values. */
  readonly #last: number[] = []
  readonly #offset: number[] = []

  constructor(counts: Uint8Array, values: Uint8Array) {
    this.#values = values
    let [code, place] = [0, 0]
    for (const count of counts) {
      this.#offset.push(place - code)
      code += count
      place += count
      this.#last.push(count > 0 ? code - 1 : -1)
      code *= 2
    }
  }

  decode(reader: BitReader): number {
    let code = 0
    for (let length = 0; length < 16; length++) {
      code = 2 * code + reader.bit()
      if (code <= this.#last[length]!) {
        const value = this.#values[code + this.#offset[length]!]
        if (value !== undefined) return value
      }
    }
    throw new Error('a code is unknown')
  }
}

class BitReader {
  readonly #bytes: Uint8Array
  #at: number
  #bits = 0
  #left = 0

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes
    this.#at = start
  }

  bit(): number {
    if (this.#left === 0) {
      const byte = this.#bytes[this.#at]
      if (byte === undefined || (byte === 0xff && this.#bytes[this.#at + 1] !== 0))
        throw new Error('the data end early')
      this.#at += byte === 0xff ? 2 : 1
      this.#bits = byte
      this.#left = 8
    }
    return (this.#bits >> --this.#left) & 1
  }

  /** A difference or coefficient of so many bits, whose sign is in the first (F.2.2.1). */
  signed(bits: number): number {
    let value = 0
    for (let i = 0; i < bits; i++) value = 2 * value + this.bit()
    return bits > 0 && value < 2 ** (bits - 1) ? value - 2 ** bits + 1 : value
  }

  restart(): void {
    this.#left = 0
    const marker = this.#bytes[this.#at + 1]!
    if (this.#bytes[this.#at] !== 0xff || marker < 0xd0 || marker > 0xd7) throw new Error('a restart marker is missing')
    this.#at += 2
  }
}

/** @returns the DC coefficient before it is scaled, which the next block continues from */
function readBlock(
  reader: BitReader,
  { dc, ac }: Scan,
  previous: number,
  quantization: readonly number[],
  coefficients: Float64Array,
): number {
  coefficients.fill(0)
  const level = previous + reader.signed(Math.min(16, dc.decode(reader)))
  coefficients[0] = level * quantization[0]!
  for (let k = 1; k < 64; k++) {
    const symbol = ac.decode(reader)
    const [zeros, bits] = [symbol >> 4, symbol & 15]
    if (bits === 0 && zeros < 15) break
    k += zeros
    if (k > 63) throw new Error('a block has too many coefficients')
    if (bits > 0) coefficients[ZIGZAG[k]!] = reader.signed(bits) * quantization[k]!
  }
  return level
}

/** COSINES[x][u] of A.3.3, with the factor C(u) / 2. */
const COSINES = Array.from({ length: 8 }, (_, x) =>
  Array.from({ length: 8 }, (_, u) => (u === 0 ? Math.SQRT1_2 : 1) * 0.5 * Math.cos(((2 * x + 1) * u * Math.PI) / 16)),
)

function inverseDct(coefficients: Float64Array): Float64Array {
  const rows = new Float64Array(64)
  for (let v = 0; v < 8; v++) {
    for (let x = 0; x < 8; x++) {
      for (let u = 0; u < 8; u++) rows[8 * v + x]! += COSINES[x]![u]! * coefficients[8 * v + u]!
    }
  }
  const block = new Float64Array(64)
  for (let y = 0; y < 8; y++) {
    for (let v = 0; v < 8; v++) {
      for (let x = 0; x < 8; x++) block[8 * y + x]! += COSINES[y]![v]! * rows[8 * v + x]!
    }
  }
  return block
}

function writeBlock(block: Float64Array, samples: Uint16Array, { width, height }: Frame, left: number, top: number) {
  for (let y = 0; y < 8 && top + y < height; y++) {
    for (let x = 0; x < 8 && left + x < width; x++) {
      const value = Math.round(block[8 * y + x]!) + 2048
      samples[(top + y) * width + left + x] = Math.min(4095, Math.max(0, value))
    }
  }
}

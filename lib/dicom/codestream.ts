/** What the header of a compressed image declares. */
export interface CodestreamHeader {
  width: number
  height: number
  components: number
  /** Bits of a sample. */
  precision: number
}

/**
 * Frame header of JPEG or JPEG-LS (ITU-T T.81 B.2.2, T.87 C.2.2); `undefined` where there is none with a scan after it:
 * decoders may look for one for ever.
 */
export function jpegHeader(bytes: Uint8Array): (CodestreamHeader & { marker: number }) | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let header: (CodestreamHeader & { marker: number }) | undefined
  for (let at = 2; at + 10 <= bytes.length; ) {
    const marker = bytes[at + 1]!
    if (bytes[at] !== 0xff) return undefined
    if (marker === 0xff) at += 1
    else if (marker === 0xda) return header
    else {
      if (!header && isFrameHeader(marker))
        header = {
          marker,
          precision: bytes[at + 4]!,
          height: view.getUint16(at + 5),
          width: view.getUint16(at + 7),
          components: bytes[at + 9]!,
        }
      at += 2 + view.getUint16(at + 2)
    }
  }
  return undefined
}

/** Segments that tell how the colours are coded: JFIF and Adobe. */
const [JFIF, ADOBE] = [0xe0, 0xee]

/**
 * A JPEG whose three components are red, green and blue, as the file around it says, told so to decoders, which take them
 * for YCbCr otherwise. Left as it is where it tells itself (Adobe's segment).
 */
export function markedAsRgb(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const kept: Uint8Array[] = [bytes.subarray(0, 2), ADOBE_RGB]
  let at = 2
  while (at + 4 <= bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda) {
    const end = at + 2 + view.getUint16(at + 2)
    if (bytes[at + 1] === ADOBE) return bytes
    if (bytes[at + 1] !== JFIF) kept.push(bytes.subarray(at, end))
    at = end
  }
  return Buffer.concat([...kept, bytes.subarray(at)])
}

/** APP14 with transform 0. */
const ADOBE_RGB = Buffer.from('ffee000e41646f626500640000000000', 'hex')

/** SOF0 to SOF15 but for DHT, JPG and DAC among them, and the SOF55 of JPEG-LS. */
function isFrameHeader(marker: number): boolean {
  return (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) || marker === 0xf7
}

export interface Jpeg2000Header extends CodestreamHeader {
  tiles: number
  /** Its components are coded as YCbCr (RCT or ICT), which decoders turn back into RGB. */
  isTransformed: boolean
}

/** Image and tile size of JPEG 2000 (ITU-T T.800 A.5.1), whose codestream may lie in a JP2 file. */
export function jpeg2000Header(bytes: Uint8Array): Jpeg2000Header | undefined {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).indexOf('ff4fff51', 0, 'hex')
  if (start < 0 || start + 44 > bytes.length) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, bytes.byteLength - start)
  const [right, bottom, left, top] = [8, 12, 16, 20].map((at) => view.getUint32(at)) as [number, number, number, number]
  const [tileWidth, tileHeight] = [view.getUint32(24), view.getUint32(28)]
  return {
    width: right - left,
    height: bottom - top,
    components: view.getUint16(40),
    precision: (view.getUint8(42) & 0x7f) + 1,
    tiles: Math.ceil((right - left) / tileWidth) * Math.ceil((bottom - top) / tileHeight),
    isTransformed: hasComponentTransform(view),
  }
}

/** The multiple component transform of the main header's COD segment (A.6.1), which lies before the first tile part. */
function hasComponentTransform(codestream: DataView): boolean {
  for (let at = 2; at + 9 <= codestream.byteLength; at += 2 + codestream.getUint16(at + 2)) {
    const marker = codestream.getUint16(at)
    if (marker === 0xff52) return codestream.getUint8(at + 8) === 1
    if (marker === 0xff90) return false
  }
  return false
}

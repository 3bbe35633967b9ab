import { isMetaImage, isNrrd } from './itk-header.js'

/** What a file is by its first bytes. */
export type FileFormat = 'dicom' | 'nifti' | 'nrrd' | 'metaimage' | 'gzip' | 'picture'

/** `picture` stands for all that is none of the others. */
export function formatOf(content: Uint8Array): FileFormat {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength)
  if (bytes.length > 2 && bytes[0] === 0x1f && bytes[1] === 0x8b) return 'gzip'
  if (bytes.length >= 132 && bytes.toString('latin1', 128, 132) === 'DICM') return 'dicom'
  if (isNifti(bytes)) return 'nifti'
  if (isNrrd(bytes)) return 'nrrd'
  if (isMetaImage(bytes)) return 'metaimage'
  return isBareDicom(bytes) ? 'dicom' : 'picture'
}

function isNifti(bytes: Buffer): boolean {
  if (bytes.length < 348) return false
  const size = [bytes.readUInt32LE(0), bytes.readUInt32BE(0)]
  return (
    (size.includes(348) && /^n[i+][1-9]$/.test(bytes.toString('latin1', 344, 347))) ||
    (size.includes(540) && /^n[i+]2$/.test(bytes.toString('latin1', 4, 7)))
  )
}

/** A data set without preamble begins with an element of group 2 or 8. */
function isBareDicom(bytes: Buffer): boolean {
  if (bytes.length < 8) return false
  const group = bytes.readUInt16LE(0)
  return [0x0002, 0x0008, 0x0200, 0x0800].includes(group) && (hasVr(bytes) || bytes.readUInt32LE(4) < bytes.length)
}

/** Whether the first element of a data set tells its value representation. */
export function hasVr(bytes: Buffer): boolean {
  return /^[A-Z]{2}$/.test(bytes.toString('latin1', 4, 6))
}

/** The kind of picture that a file begins as, whole or not; `null` for what begins as none that is read. */
export function pictureOf(content: Uint8Array): 'png' | 'jpeg' | 'tiff' | 'webp' | null {
  const start = Buffer.from(content.subarray(0, 12)).toString('latin1')
  if (start.startsWith('\x89PNG')) return 'png'
  if (start.startsWith('\xff\xd8\xff')) return 'jpeg'
  // Of BigTIFF the number is 43.
  if (/^(II[*+]\0|MM\0[*+])/.test(start)) return 'tiff'
  return /^RIFF.{4}WEBP/s.test(start) ? 'webp' : null
}

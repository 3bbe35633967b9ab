import { EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN } from '../dataset.js'

type Value = string | number | ArrayBuffer | Dataset | readonly (string | number)[] | readonly Dataset[]

/** Attributes by keyword (PS3.6); what is `undefined` is left out, `''` and an empty list are written without a value. */
export interface Dataset {
  [keyword: string]: Value | undefined
}

/** Attributes whose values come from a file as they are: VR and values by tag. */
export type CopiedElements = Readonly<Record<string, { vr: string; Value: string[] }>>

export interface DicomContent {
  dataset: Dataset & { SOPClassUID: string; SOPInstanceUID: string }
  copied: CopiedElements
  /** Bytes of Pixel Data, in OB or OW. */
  pixels?: { vr: 'OB' | 'OW'; bytes: Uint8Array }
  transferSyntax: typeof EXPLICIT_LITTLE_ENDIAN | typeof IMPLICIT_LITTLE_ENDIAN
}

/** Of this package, at random once. */
const IMPLEMENTATION_CLASS_UID = '2.25.268037732537811244600663504285683694777'
const IMPLEMENTATION_VERSION_NAME = 'SEG_SAM_NODE'

/** The most that a 32-bit length can say of Pixel Data, even. */
export const MAX_PIXEL_BYTES = 2 ** 32 - 2

/** A Part 10 file. dcmjs is loaded when the first one is written. */
export async function dicomFile({ dataset, copied, pixels, transferSyntax }: DicomContent): Promise<Buffer> {
  const {
    data: { DicomDict, DicomMetaDictionary },
  } = (await import('dcmjs')).default
  const file = new DicomDict(
    DicomMetaDictionary.denaturalizeDataset({
      FileMetaInformationVersion: Uint8Array.of(0, 1).buffer,
      MediaStorageSOPClassUID: dataset.SOPClassUID,
      MediaStorageSOPInstanceUID: dataset.SOPInstanceUID,
      TransferSyntaxUID: transferSyntax,
      ImplementationClassUID: IMPLEMENTATION_CLASS_UID,
      ImplementationVersionName: IMPLEMENTATION_VERSION_NAME,
    }),
  )
  // What is copied does not pass through denaturalizeDataset, which cuts long values and prints them.
  const elements = DicomMetaDictionary.denaturalizeDataset({
    SpecificCharacterSet: 'ISO_IR 192',
    ...dataset,
    // The dictionary has two to choose from.
    _vrMap: { PixelPaddingValue: 'US' },
  })
  file.dict = { ...elements, ...structuredClone(copied) }
  const head = Buffer.from(file.write({ allowInvalidVRLength: true }))
  return pixels ? Buffer.concat([head, ...pixelElement(pixels)]) : head
}

/** Explicit VR, little endian. dcmjs would hold the pixels four times; their tag is the last. */
function pixelElement({ vr, bytes }: NonNullable<DicomContent['pixels']>): Uint8Array[] {
  const padding = bytes.length % 2
  const head = Buffer.from([0xe0, 0x7f, 0x10, 0x00, ...Buffer.from(vr), 0, 0, 0, 0, 0, 0])
  head.writeUInt32LE(bytes.length + padding, 8)
  return [head, bytes, new Uint8Array(padding)]
}

export { EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN }

import type { DicomDataset } from './dataset.js'

/** What a structure set or segmentation of the same study has to repeat of it, by the tags of the reader. */
export const HEADER = {
  StudyDate: { tag: 'x00080020', vr: 'DA' },
  StudyTime: { tag: 'x00080030', vr: 'TM' },
  AccessionNumber: { tag: 'x00080050', vr: 'SH' },
  ReferringPhysicianName: { tag: 'x00080090', vr: 'PN' },
  StudyDescription: { tag: 'x00081030', vr: 'LO' },
  PatientName: { tag: 'x00100010', vr: 'PN' },
  PatientID: { tag: 'x00100020', vr: 'LO' },
  IssuerOfPatientID: { tag: 'x00100021', vr: 'LO' },
  PatientBirthDate: { tag: 'x00100030', vr: 'DA' },
  PatientSex: { tag: 'x00100040', vr: 'CS' },
  PatientAge: { tag: 'x00101010', vr: 'AS' },
  PatientSize: { tag: 'x00101020', vr: 'DS' },
  PatientWeight: { tag: 'x00101030', vr: 'DS' },
  StudyID: { tag: 'x00200010', vr: 'SH' },
} as const

export type HeaderKeyword = keyof typeof HEADER

/** What of a header is no one's secret, and needed to understand the values. */
export interface PublicHeader {
  /** Specific Character Set of the texts. */
  characterSets: readonly string[]
  /** The image has been compressed with loss at some time (Lossy Image Compression is `01`), by what and how much. */
  lossy: { methods: readonly string[]; ratios: readonly string[] } | null
}

/**
 * What a DICOM file says of its patient and study, kept for the writers of DICOM files. It shows nothing of that: neither
 * `JSON.stringify` nor `console.log` nor a structured clone gets at it.
 */
export class StudyHeader {
  /** As the bytes stand in the file, by keyword; the empty ones left out. */
  readonly #values: ReadonlyMap<HeaderKeyword, Uint8Array>
  readonly #open: PublicHeader

  constructor(dataset: DicomDataset) {
    const values = new Map<HeaderKeyword, Uint8Array>()
    for (const [keyword, { tag }] of Object.entries(HEADER)) {
      const element = dataset.element(tag)
      // A copy, so that the file itself need not stay in memory.
      if (element && element.length > 0) values.set(keyword as HeaderKeyword, dataset.bytes(element).slice())
    }
    this.#values = values
    const isLossy = dataset.text('x00282110') === '01'
    this.#open = {
      characterSets: dataset.texts('x00080005'),
      lossy: isLossy ? { methods: textsOf(dataset, 'x00282114'), ratios: textsOf(dataset, 'x00282112') } : null,
    }
  }

  /** For the writers only. */
  static read(header: StudyHeader): PublicHeader & { values: ReadonlyMap<HeaderKeyword, Uint8Array> } {
    return { ...header.#open, values: header.#values }
  }
}

function textsOf(dataset: DicomDataset, tag: string): string[] {
  return dataset.texts(tag).filter((text) => text !== '')
}

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import dcmjs from 'dcmjs'
import { afterAll, describe, expect, it, test } from 'vitest'
import { readVolume, SegSamError, toDicomSeg, toRTStruct, type Volume } from '../lib/index.js'
import { FORMS, segmentationOf, writeSeries } from './dicom-series.js'
import type { DicomElement } from './volume-files.js'

const folder = mkdtempSync(join(tmpdir(), 'seg-sam-dicom-patient-'))
afterAll(() => rmSync(folder, { recursive: true }))

const PATIENT: DicomElement[] = [
  [0x00080020, 'DA', '20010203'],
  [0x00080030, 'TM', '040506'],
  [0x00080050, 'SH', 'ACC-77'],
  [0x00080090, 'PN', 'Referrer^Rita'],
  [0x00081030, 'LO', 'Abdomen of Secret'],
  [0x00100010, 'PN', 'Secret^Patient'],
  [0x00100020, 'LO', 'ID-4711'],
  [0x00100030, 'DA', '19560708'],
  [0x00100040, 'CS', 'F'],
  [0x00101010, 'AS', '044Y'],
  [0x00200010, 'SH', 'STUDY-9'],
]
const VALUES = PATIENT.map(([, , value]) => value as string).filter((value) => value.length > 1)

async function volumeWith(name: string, elements: readonly DicomElement[]): Promise<Volume> {
  const at = join(folder, name)
  writeSeries(at, FORMS.axial!, elements)
  return readVolume(at)
}

describe('what the source says of the patient', () => {
  it('shows in nothing that is logged', async () => {
    const volume = await volumeWith('logged', PATIENT)
    const deep = { depth: Number.POSITIVE_INFINITY, showHidden: true, getters: true, maxArrayLength: 10 }
    const shown = [
      JSON.stringify({ ...volume, data: [] }),
      JSON.stringify(volume.dicom),
      inspect(volume, deep),
      inspect(volume.dicom!.header, deep),
      String(volume.dicom!.header),
      inspect(structuredClone(volume.dicom), deep),
      Reflect.ownKeys(volume.dicom!.header!).join(),
    ]
    for (const text of shown) for (const value of VALUES) expect(text).not.toContain(value)
    expect(JSON.stringify(volume.dicom!.header)).toBe('{}')
  })

  test.each([toDicomSeg, toRTStruct])('%o leaves it out unless it is asked for', async (write) => {
    const segmentation = segmentationOf(await volumeWith('left-out', PATIENT))
    const content = await write(segmentation)
    for (const value of VALUES) expect(content.includes(value)).toBe(false)
    const dataset = datasetOf(content)
    for (const keyword of [
      'PatientName',
      'PatientID',
      'PatientBirthDate',
      'PatientSex',
      'StudyDate',
      'AccessionNumber',
    ]) {
      expect(dataset).toHaveProperty(keyword)
      expect(String(dataset[keyword] ?? '')).toBe('')
    }
    expect(dataset).not.toHaveProperty('PatientAge')
    expect(dataset.StudyInstanceUID).toBe('1.2.3.40')
  })

  test.each([toDicomSeg, toRTStruct])('%o repeats it where it is asked for', async (write) => {
    const segmentation = segmentationOf(await volumeWith('kept', PATIENT))
    const dataset = datasetOf(await write(segmentation, { keepPatient: true }))
    expect(dataset).toMatchObject({
      StudyDate: '20010203',
      StudyTime: '040506',
      AccessionNumber: 'ACC-77',
      StudyDescription: 'Abdomen of Secret',
      PatientID: 'ID-4711',
      PatientBirthDate: '19560708',
      PatientSex: 'F',
      PatientAge: '044Y',
      StudyID: 'STUDY-9',
    })
    expect(nameOf(dataset, 'PatientName')).toBe('Secret^Patient')
    expect(nameOf(dataset, 'ReferringPhysicianName')).toBe('Referrer^Rita')
  })

  test.each([
    ['ISO_IR 100', Buffer.from('M\xfcller^J\xf6rg', 'latin1'), 'Müller^Jörg'],
    ['ISO_IR 192', Buffer.from('Müller^Jörg', 'utf8'), 'Müller^Jörg'],
    ['ISO_IR 144', Buffer.from([0xbb, 0xee, 0xda, 0x63, 0x65, 0xdc, 0xd1, 0x79, 0x70, 0xd3]), 'Люкceмбypг'],
    // The examples of PS3.5 annexes H and I, and J.
    [
      '\\ISO 2022 IR 87',
      Buffer.from('Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B', 'latin1'),
      'Yamada^Tarou=山田^太郎=やまだ^たろう',
    ],
    [
      '\\ISO 2022 IR 149',
      Buffer.from(
        'Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf',
        'latin1',
      ),
      'Hong^Gildong=洪^吉洞=홍^길동',
    ],
    ['GB18030', Buffer.from('Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab', 'latin1'), 'Wang^XiaoDong=王^小东'],
  ])('is read in %s', async (set, bytes, name) => {
    const elements: DicomElement[] = [
      [0x00080005, 'CS', set],
      [0x00100010, 'PN', bytes],
    ]
    const segmentation = segmentationOf(await volumeWith(`set-${set.replaceAll('\\', '-')}`, elements))
    const dataset = datasetOf(await toDicomSeg(segmentation, { keepPatient: true }))
    expect(dataset.SpecificCharacterSet).toBe('ISO_IR 192')
    expect(nameOf(dataset, 'PatientName')).toBe(name)
  })

  test.each(['ISO_IR 999', '\\ISO 2022 IR 159', 'ISO_IR 192'])('is refused, not guessed, in %s', async (set) => {
    const elements: DicomElement[] = [
      [0x00080005, 'CS', set],
      [0x00100010, 'PN', Buffer.from('Secret\xff^P', 'latin1')],
    ]
    const segmentation = segmentationOf(await volumeWith(`refused-${set.replaceAll('\\', '-')}`, elements))
    const error = await toDicomSeg(segmentation, { keepPatient: true }).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(SegSamError)
    expect(error).toMatchObject({ code: 'UNSUPPORTED_FORMAT' })
    expect(inspect(error, { showHidden: true })).not.toContain('Secret')
    await expect(toDicomSeg(segmentation)).resolves.toBeInstanceOf(Buffer)
  })

  it('is neither cut nor printed where it is longer than DICOM allows', async () => {
    const long = `Secret^${'x'.repeat(90)}`
    const written: string[] = []
    const { log, info, warn, error } = console
    const note = (...parts: unknown[]) => void written.push(parts.join(' '))
    Object.assign(console, { log: note, info: note, warn: note, error: note })
    try {
      const segmentation = segmentationOf(await volumeWith('long', [[0x00100020, 'LO', long]]))
      const dataset = datasetOf(await toDicomSeg(segmentation, { keepPatient: true }))
      expect(dataset.PatientID).toBe(long)
    } finally {
      Object.assign(console, { log, info, warn, error })
    }
    expect(written.join('\n')).not.toContain('Secret')
  })

  it('must be there to be kept', async () => {
    const volume = await volumeWith('gone', PATIENT)
    const { header, ...dicom } = volume.dicom!
    expect(header).toBeDefined()
    const segmentation = { ...segmentationOf(volume), volume: Object.assign(Object.create(volume), { dicom }) }
    await expect(toDicomSeg(segmentation, { keepPatient: true })).rejects.toThrow('keepPatient is true')
    await expect(toDicomSeg(segmentation)).resolves.toBeInstanceOf(Buffer)
  })
})

// biome-ignore lint/suspicious/noExplicitAny: dcmjs has no types
function datasetOf(content: Buffer): any {
  // biome-ignore lint/suspicious/noExplicitAny: dcmjs has no types
  const { DicomMessage, DicomMetaDictionary } = dcmjs.data as any
  const bytes = content.buffer.slice(content.byteOffset, content.byteOffset + content.length)
  return DicomMetaDictionary.naturalizeDataset(DicomMessage.readFile(bytes).dict)
}

// biome-ignore lint/suspicious/noExplicitAny: dcmjs has no types
function nameOf(dataset: any, keyword: string): string {
  const [{ Alphabetic, Ideographic, Phonetic }] = dataset[keyword]
  return [Alphabetic, Ideographic, Phonetic].filter((part) => part !== undefined).join('=')
}

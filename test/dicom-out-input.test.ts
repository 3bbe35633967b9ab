import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import dcmjs from 'dcmjs'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { dicomLab } from '../lib/dicom/write/colour.js'
import {
  type DicomSegOptions,
  readVolume,
  toDicomSeg,
  toRTStruct,
  Volume,
  type VolumeSegment,
  type VolumeSegmentation,
} from '../lib/index.js'
import { FORMS, maskOf, segmentationOf, writeRadiograph, writeSeries } from './dicom-series.js'
import type { DicomElement } from './volume-files.js'

const folder = mkdtempSync(join(tmpdir(), 'seg-sam-dicom-input-'))
afterAll(() => rmSync(folder, { recursive: true }))

let segmentation: VolumeSegmentation
beforeAll(async () => {
  segmentation = await read('axial')
})

async function read(form: string, extra: readonly DicomElement[] = []): Promise<VolumeSegmentation> {
  const at = mkdtempSync(join(folder, 'series-'))
  writeSeries(at, FORMS[form]!, extra)
  return segmentationOf(await readVolume(at))
}

function withSegments(...segments: VolumeSegment[]): VolumeSegmentation {
  return { ...segmentation, segments }
}

describe.each([
  ['toDicomSeg', toDicomSeg],
  ['toRTStruct', toRTStruct],
])('%s refuses', (_, write) => {
  test('a volume that is of no DICOM file', async () => {
    const { volume } = segmentation
    const other = new Volume({ ...volume, dicom: null })
    await expect(write({ ...segmentation, volume: other })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('Read the DICOM series with readVolume'),
    })
  })

  test('no segment, and an empty one', async () => {
    await expect(write(withSegments())).rejects.toThrow('at least one segment')
    const empty = { ...segmentation.segments[0]!, mask: maskOf(segmentation.volume, () => false) }
    await expect(write(withSegments(empty))).rejects.toThrow('no voxel')
  })

  test.each([0x0020000d, 0x00080018])('a source without the UID %i', async (tag) => {
    await expect(write(await read('axial', [[tag, 'UI', '']]))).rejects.toThrow('Repair their headers')
    await expect(write(await read('axial', [[tag, 'UI', '1.2.x']]))).rejects.toThrow('an invalid')
  })

  test('options it does not have', async () => {
    for (const options of [{ keepPatients: true }, { keepPatient: 'yes' }, { algorithmType: 'MANUAL' }]) {
      await expect(write(segmentation, options as DicomSegOptions)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    }
    await expect(write(segmentation, { description: 'x'.repeat(65) })).rejects.toThrow('at most 64')
  })

  test('a code scheme that DICOM has no room for', async () => {
    const [segment] = segmentation.segments
    const codes = [{ scheme: 'x'.repeat(17), value: '1' }]
    const wrong = withSegments({ ...segment!, class: { id: 'a', name: 'A', codes } })
    await expect(write(wrong)).rejects.toThrow('at most 16 characters')
  })
})

describe('a segmentation refuses', () => {
  test('more segments than 16 bits can number', async () => {
    const many = Array.from({ length: 65536 }, () => segmentation.segments[2]!)
    await expect(toDicomSeg(withSegments(...many))).rejects.toThrow('at most 65535')
  })

  test('a label map with overlaps', async () => {
    await expect(toDicomSeg(segmentation, { type: 'LABELMAP' })).rejects.toThrow('overlap')
  })

  test('fractions that are missing, too few, or out of range', async () => {
    const [segment] = segmentation.segments
    const wrong = (fractions?: Float32Array) =>
      toDicomSeg(withSegments({ ...segment!, ...(fractions && { fractions }) }), { type: 'FRACTIONAL' })
    const voxels = segment!.mask.data.length
    await expect(wrong()).rejects.toThrow('FRACTIONAL')
    await expect(wrong(new Float32Array(3))).rejects.toThrow(`${voxels} numbers`)
    await expect(wrong(new Float32Array(voxels).fill(1.5))).rejects.toThrow('from 0 to 1')
    await expect(wrong(new Float32Array(voxels).fill(Number.NaN))).rejects.toThrow('from 0 to 1')
    await expect(wrong(new Float32Array(voxels).fill(0.001))).rejects.toThrow('nothing to write')
  })
})

describe('a structure set refuses', () => {
  test('frames that are not axial', async () => {
    const sagittal = await read('sagittal')
    await expect(toRTStruct(sagittal)).rejects.toThrow('not axial')
    await expect(toDicomSeg(sagittal)).resolves.toBeInstanceOf(Buffer)
  })

  test('images without a place, or without the size of pixels', async () => {
    const at = join(folder, 'radiograph')
    writeRadiograph(at)
    await expect(toRTStruct(segmentationOf(await readVolume(at)))).rejects.toThrow('Pixel Spacing')
    await expect(toRTStruct(await read('axial', [[0x00280030, 'DS', '']]))).rejects.toThrow('Pixel Spacing')
  })
})

// [L*, a* + 128, b* + 128] of sRGB colours by littleCMS, as Pillow's ImageCms gives them in 8 bits.
test.each([
  ['#FF8000', 67.8, 173, 203],
  ['#0080FF', 53.7, 137, 55],
  ['#3050FF', 42, 168, 37],
  ['#FFFFFF', 100, 128, 128],
])('%s is shown in its colour', (colour, lightness, a, b) => {
  const [codedLightness, codedA, codedB] = dicomLab(colour)
  expect(Math.abs(codedLightness / 655.35 - lightness)).toBeLessThan(0.3)
  expect(Math.abs(codedA / 257 - a)).toBeLessThan(1)
  expect(Math.abs(codedB / 257 - b)).toBeLessThan(1)
})

describe('a segmentation', () => {
  it('says what its segments are, in codes', async () => {
    const [segment] = segmentation.segments
    const classes = [
      null,
      { id: 'liver', name: 'Liver', codes: [{ scheme: 'SCT', value: '10200004' }] },
      {
        id: 'kidney_tumour',
        name: 'Tumour of the left kidney',
        codes: [
          { scheme: 'FMA', value: '1' },
          { scheme: 'SCT', value: '49755003' },
          { scheme: 'SCT', value: '7771000' },
          { scheme: 'SCT', value: '108369006', meaning: 'Neoplasm' },
        ],
      },
      { id: 'a_class_of_ones_own', name: 'Own', codes: [] },
    ]
    const dataset = datasetOf(
      await toDicomSeg(withSegments(...classes.map((found) => ({ ...segment!, class: found })))),
    )
    const code = (items: { CodeValue?: string; LongCodeValue?: string; [keyword: string]: unknown }[]) => {
      const { CodingSchemeDesignator, CodeValue, LongCodeValue, CodeMeaning } = items[0]!
      return [CodingSchemeDesignator, CodeValue ?? LongCodeValue, CodeMeaning]
    }
    const found = dataset.SegmentSequence.map((item: Record<string, never>) => [
      code(item.SegmentedPropertyCategoryCodeSequence!),
      code(item.SegmentedPropertyTypeCodeSequence!),
    ])
    expect(found).toEqual([
      [
        ['SCT', '85756007', 'Tissue'],
        ['SCT', '85756007', 'Tissue'],
      ],
      [
        ['SCT', '123037004', 'Anatomical Structure'],
        ['SCT', '10200004', 'Liver'],
      ],
      [
        ['SCT', '49755003', 'Morphologically Abnormal Structure'],
        ['SCT', '108369006', 'Neoplasm'],
      ],
      [
        ['SCT', '85756007', 'Tissue'],
        ['99SEGSAM', 'a_class_of_ones_own', 'Own'],
      ],
    ])
    const [, , tumour] = dataset.SegmentSequence
    const [type] = tumour.SegmentedPropertyTypeCodeSequence
    expect(code(type.SegmentedPropertyTypeModifierCodeSequence)).toEqual(['SCT', '7771000', 'Left'])
  })

  it('says what made it, and repeats long and foreign names', async () => {
    const [segment] = segmentation.segments
    const long = `Größe \\ ${'x'.repeat(80)}`
    const dataset = datasetOf(
      await toDicomSeg(withSegments({ ...segment!, name: long }), {
        algorithmType: 'SEMIAUTOMATIC',
        description: 'Beschreibung',
        creator: 'Doe^Jane',
        seriesNumber: 7,
      }),
    )
    const [item] = dataset.SegmentSequence
    // dcmjs forgets the character set within sequences.
    const read = (text: string) => Buffer.from(text, 'latin1').toString('utf8')
    expect(read(item.SegmentLabel)).toBe(`Größe / ${'x'.repeat(53)}...`)
    expect(read(item.SegmentDescription)).toBe(long.replace('\\', '/'))
    expect(item.SegmentAlgorithmType).toBe('SEMIAUTOMATIC')
    expect(item.SegmentAlgorithmName).toBe('seg-sam-tiny')
    const [algorithm] = item.SegmentationAlgorithmIdentificationSequence
    expect(algorithm).toMatchObject({
      AlgorithmName: 'seg-sam-tiny',
      AlgorithmVersion: '0.3.0',
      AlgorithmParameters: `bundle sha256=${'ab'.repeat(32)}`,
    })
    expect(algorithm.AlgorithmFamilyCodeSequence[0].CodeValue).toBe('123110')
    expect(dataset).toMatchObject({ ContentDescription: 'Beschreibung', SeriesNumber: 7, SegmentsOverlap: 'NO' })
    expect(dataset.ContentCreatorName[0].Alphabetic).toBe('Doe^Jane')
  })

  it('tells that its source was compressed with loss', async () => {
    const lossy = await read('axial', [
      [0x00282110, 'CS', '01'],
      [0x00282112, 'DS', '12.5'],
      [0x00282114, 'CS', 'ISO_10918_1'],
    ])
    expect(datasetOf(await toDicomSeg(lossy))).toMatchObject({
      LossyImageCompression: '01',
      LossyImageCompressionRatio: 12.5,
      LossyImageCompressionMethod: 'ISO_10918_1',
    })
    expect(datasetOf(await toDicomSeg(segmentation)).LossyImageCompression).toBe('00')
  })

  it('is a new one each time', async () => {
    const [one, other] = [datasetOf(await toDicomSeg(segmentation)), datasetOf(await toDicomSeg(segmentation))]
    expect(one.SOPInstanceUID).not.toBe(other.SOPInstanceUID)
    expect(one.SOPInstanceUID).toMatch(/^2\.25\.[1-9]\d{1,38}$/)
    expect(one.SeriesInstanceUID).not.toBe(segmentation.volume.dicom!.seriesInstanceUid)
    expect(one.SegmentsOverlap).toBe('YES')
  })

  it('numbers 300 segments of a label map in 16 bits', async () => {
    const { volume } = segmentation
    const [segment] = segmentation.segments
    const segments = Array.from({ length: 300 }, (_, n) => ({
      ...segment!,
      name: `${n}`,
      mask: maskOf(volume, (i, j, k) => i + 23 * j === n && k === 1),
    }))
    const content = await toDicomSeg(withSegments(...segments), { type: 'LABELMAP' })
    const at = join(mkdtempSync(join(folder, 'map-')), 'map.dcm')
    writeFileSync(at, content)
    const values = (await readVolume(at)).data
    expect([...values.subarray(0, 301)]).toEqual([...Array.from({ length: 300 }, (_, n) => n + 1), 0])
  })
})

// biome-ignore lint/suspicious/noExplicitAny: dcmjs has no types
function datasetOf(content: Buffer): any {
  // biome-ignore lint/suspicious/noExplicitAny: dcmjs has no types
  const { DicomMessage, DicomMetaDictionary } = dcmjs.data as any
  const bytes = content.buffer.slice(content.byteOffset, content.byteOffset + content.length)
  return DicomMetaDictionary.naturalizeDataset(DicomMessage.readFile(bytes).dict)
}

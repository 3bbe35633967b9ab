import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import dcmjs from 'dcmjs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type DicomSegOptions, readVolume, toDicomSeg, type VolumeSegmentation } from '../lib/index.js'
import { FORMS, segmentationOf, withFractions, withoutOverlap, writeSeries } from './dicom-series.js'

const folder = mkdtempSync(join(tmpdir(), 'seg-sam-cornerstone-'))
afterAll(() => rmSync(folder, { recursive: true }))

let segmentation: VolumeSegmentation
beforeAll(async () => {
  writeSeries(folder, FORMS.axial!)
  segmentation = withoutOverlap(segmentationOf(await readVolume(folder)))
})

/** With every fraction 0 or 1. */
function allOrNothing(): VolumeSegmentation {
  const segments = segmentation.segments.map((segment) => ({
    ...segment,
    fractions: Float32Array.from(segment.mask.data),
  }))
  return { ...segmentation, segments }
}

/** What viewers get that read segmentations by dcmjs's adapter for Cornerstone: a label map. */
async function readByAdapter(written: VolumeSegmentation, options: DicomSegOptions) {
  const content = await toDicomSeg(written, options)
  const { shape, dicom } = written.volume
  const ids = dicom!.slices.map((_, k) => `${k}`)
  const [columns, rows] = shape
  const metadata = (kind: string, id: string) =>
    ({
      imagePlaneModule: { rowCosines: [1, 0, 0], columnCosines: [0, 1, 0], rows, columns },
      imagePixelModule: { rows, columns },
      generalSeriesModule: { seriesInstanceUID: dicom!.seriesInstanceUid },
      sopCommonModule: { sopInstanceUID: dicom!.slices[Number(id)]!.sopInstanceUid },
    })[kind]
  // biome-ignore lint/suspicious/noExplicitAny: dcmjs has no types
  const { Segmentation } = (dcmjs as any).adapters.Cornerstone
  const bytes = content.buffer.slice(content.byteOffset, content.byteOffset + content.length)
  const { labelmapBufferArray, segMetadata } = Segmentation.generateToolState(ids, bytes, { get: metadata })
  return { values: new Uint16Array(labelmapBufferArray[0]), segments: segMetadata.data }
}

test.each<[string, () => VolumeSegmentation, DicomSegOptions]>([
  ['a binary segmentation', () => segmentation, {}],
  ['fractions of 0 and 1', allOrNothing, { type: 'FRACTIONAL' }],
])('dcmjs makes a label map of %s', async (_, written, options) => {
  const { values, segments } = await readByAdapter(written(), options)
  const meant = new Uint16Array(values.length)
  for (const [s, { mask }] of segmentation.segments.entries()) mask.paint(meant, s + 1)
  expect(values).toEqual(meant)
  expect(segments.slice(1).map(({ SegmentNumber }: { SegmentNumber: number }) => SegmentNumber)).toEqual([1, 2])
})

// Known to the documentation: where this fails, dcmjs has learnt something.
test.each<[string, DicomSegOptions]>([
  ['fractions between', { type: 'FRACTIONAL' }],
  ['a label map', { type: 'LABELMAP' }],
])('dcmjs makes none of %s', async (_, options) => {
  await expect(readByAdapter(withFractions(segmentation), options)).rejects.toThrow('not yet supported')
})

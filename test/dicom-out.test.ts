import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import dcmjs from 'dcmjs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readVolume, toDicomSeg, toRTStruct, type VolumeSegmentation } from '../lib/index.js'
import { errorsOf, judgedByPydicom, wholeOf } from './dicom-judges.js'
import {
  FORMS,
  segmentationOf,
  withFractions,
  withoutOverlap,
  writeMultiFrame,
  writeRadiograph,
  writeSeries,
} from './dicom-series.js'
import { hasProgram, hasPython } from './outside-tools.js'

const shared = fileURLToPath(new URL('../../shared/data/files', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'seg-sam-dicom-out-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Series of every kind, those of others where they lie beside the repository. */
const sources: Record<string, { at: string; write?: (at: string) => void }> = {
  ...Object.fromEntries(
    Object.entries(FORMS).map(([name, form]) => [
      name,
      { at: join(folder, name, 'source'), write: (at: string) => writeSeries(at, form) },
    ]),
  ),
  'many frames in a file': {
    at: join(folder, 'frames', 'source'),
    write: (at) => writeMultiFrame(at, FORMS['oblique, files out of order']!),
  },
  radiograph: { at: join(folder, 'radiograph', 'source'), write: writeRadiograph },
  ...Object.fromEntries(['dcmqi/ct-3slice', 'ibsi/STS_001-ct/image'].map((path) => [path, { at: join(shared, path) }])),
}
const HAS_NO_CONTOURS = ['sagittal', 'radiograph']

describe.each(Object.entries(sources).filter(([, { at, write }]) => write || existsSync(at)))(
  'a series: %s',
  (name, { at, write }) => {
    const out = join(folder, name.replaceAll('/', '-'))
    let segmentation: VolumeSegmentation
    const written = ['seg-binary', 'seg-fractional', 'seg-labelmap', ...(HAS_NO_CONTOURS.includes(name) ? [] : ['rt'])]

    beforeAll(async () => {
      write?.(at)
      const volume = await readVolume(at)
      segmentation = withFractions(segmentationOf(volume))
      mkdirSync(out, { recursive: true })
      const save = (file: string, content: Buffer) => writeFileSync(join(out, `${file}.dcm`), content)
      save('seg-binary', await toDicomSeg(segmentation))
      save('seg-fractional', await toDicomSeg(segmentation, { type: 'FRACTIONAL' }))
      save('seg-labelmap', await toDicomSeg(withoutOverlap(segmentation), { type: 'LABELMAP' }))
      if (written.includes('rt')) save('rt', await toRTStruct(segmentation))
    })

    test.skipIf(!hasPython('pydicom', 'skimage'))('pydicom and scikit-image find the voxels', async () => {
      expect(await judgedByPydicom(out, at, segmentation)).toEqual({ code: 0, output: 'as meant\n' })
    })

    test.skipIf(!hasProgram('dciodvfy'))('dciodvfy finds no error', async () => {
      for (const file of written.filter((file) => file !== 'seg-labelmap')) {
        expect(await errorsOf(join(out, `${file}.dcm`))).toEqual([])
      }
    })

    // Label maps are younger than the program, so that it takes them for a segmentation of the old kind.
    test.skipIf(!hasProgram('dciodvfy'))('of a label map dciodvfy finds what is new in it, no more', async () => {
      const content = readFileSync(join(out, 'seg-labelmap.dcm'))
      const old = join(out, 'old-labelmap.dcm')
      const text = content.toString('latin1').replaceAll('1.2.840.10008.5.1.4.1.1.66.7', '1.2.840.10008.5.1.4.1.1.66.4')
      writeFileSync(old, text, 'latin1')
      const others = (await errorsOf(old)).filter((error) => !NEW_IN_LABEL_MAPS.some((known) => known.test(error)))
      expect(others).toEqual([])
    })

    test('dcmjs finds the voxels', () => {
      const found = valuesByDcmjs(join(out, 'seg-binary.dcm'), segmentation)
      const { segments } = segmentation
      for (const [s, { mask }] of segments.entries()) expect(Buffer.compare(found[s]!, mask.toVolume())).toBe(0)
    })

    test('dcmjs finds the fractions', () => {
      const found = valuesByDcmjs(join(out, 'seg-fractional.dcm'), segmentation)
      const { volume, segments } = segmentation
      for (const [s, { mask, fractions }] of segments.entries()) {
        const whole = wholeOf(volume.shape, mask, fractions!)
        expect(
          Buffer.compare(
            found[s]!,
            Uint8Array.from(whole, (share) => Math.round(share * 255)),
          ),
        ).toBe(0)
      }
    })

    test('dcmjs finds the values of a label map', () => {
      const [found] = valuesByDcmjs(join(out, 'seg-labelmap.dcm'), segmentation)
      const { volume, segments } = withoutOverlap(segmentation)
      const values = new Uint8Array(volume.shape[0] * volume.shape[1] * volume.shape[2])
      for (const [s, { mask }] of segments.entries()) mask.paint(values, s + 1)
      expect(Buffer.compare(found!, values)).toBe(0)
    })
  },
)

const NEW_IN_LABEL_MAPS = [
  /SegmentNumber.* (not monotonically increasing|Value is zero)/,
  /SegmentationType.*LABELMAP/,
  /SegmentIdentification/,
  /PixelPaddingValue/,
]

/** Values by segment, from the first on, one a voxel of the volume; of a label map all are in the first. */
function valuesByDcmjs(file: string, { volume, segments }: VolumeSegmentation): Uint8Array[] {
  // biome-ignore lint/suspicious/noExplicitAny: dcmjs has no types
  const { DicomMessage, DicomMetaDictionary, BitArray } = dcmjs.data as any
  const content = readFileSync(file)
  const bytes = content.buffer.slice(content.byteOffset, content.byteOffset + content.length)
  const dataset = DicomMetaDictionary.naturalizeDataset(DicomMessage.readFile(bytes).dict)
  const pixels = Array.isArray(dataset.PixelData) ? dataset.PixelData[0] : dataset.PixelData
  const frames: Uint8Array =
    dataset.SegmentationType === 'BINARY'
      ? BitArray.unpack(pixels).map((value: number) => (value ? 1 : 0))
      : new Uint8Array(pixels)
  const area = volume.shape[0] * volume.shape[1]
  const found = segments.map(() => new Uint8Array(area * volume.shape[2]))
  for (const [at, groups] of dataset.PerFrameFunctionalGroupsSequence.entries()) {
    const image = groups.DerivationImageSequence[0].SourceImageSequence[0]
    const k = volume.dicom!.slices.findIndex(
      ({ sopInstanceUid, frame }) =>
        sopInstanceUid === image.ReferencedSOPInstanceUID && frame === Number(image.ReferencedFrameNumber ?? 1),
    )
    const number = groups.SegmentIdentificationSequence?.[0].ReferencedSegmentNumber ?? 1
    found[number - 1]!.set(frames.subarray(at * area, (at + 1) * area), k * area)
  }
  return found
}

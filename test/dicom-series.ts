import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Volume, type VolumeSegment, type VolumeSegmentation, VoxelMask } from '../lib/index.js'
import { type CtSlice, ctSlice, type DicomElement, dicomFile } from './volume-files.js'

type Vector = readonly [number, number, number]

/** How the slices of a made-up series lie. */
export interface SeriesForm {
  /** Unit vectors along a row and down a column. */
  right: Vector
  down: Vector
  /** Of each file, in their order: mm along the normal. */
  places: readonly number[]
}

const OBLIQUE = turned(0.3, -0.4)

/** Of every kind that a writer could get wrong. */
export const FORMS: Record<string, SeriesForm> = {
  axial: { right: [1, 0, 0], down: [0, 1, 0], places: [0, 2.5, 5, 7.5] },
  'oblique, files out of order': { ...OBLIQUE, places: [6, 0, 9, 3] },
  'turned over': { right: [1, 0, 0], down: [0, -1, 0], places: [0, 1, 2] },
  uneven: { right: [1, 0, 0], down: [0, 1, 0], places: [0, 2, 7] },
  'one slice': { right: [-1, 0, 0], down: [0, 1, 0], places: [4] },
  sagittal: { right: [0, 1, 0], down: [0, 0, -1], places: [0, 3] },
}

/** Rows and columns of the axial plane, turned about x and then about y. */
function turned(x: number, y: number): Pick<SeriesForm, 'right' | 'down'> {
  return {
    right: [Math.cos(y), 0, -Math.sin(y)],
    down: [Math.sin(x) * Math.sin(y), Math.cos(x), Math.sin(x) * Math.cos(y)],
  }
}

/** A file a slice, 0.5 x 0.75 mm pixels. */
export function writeSeries(
  folder: string,
  form: SeriesForm,
  extra: readonly DicomElement[] = [],
  image: Pick<CtSlice, 'width' | 'height' | 'values'> = { width: 23, height: 17 },
): void {
  mkdirSync(folder, { recursive: true })
  for (const [i, place] of form.places.entries()) {
    const slice = ctSlice({ ...image, instance: i + 1, position: positionOf(form, place) })
    const elements = [...slice, ...uidElements(), orientationElement(form), ...extra]
    writeFileSync(join(folder, `${i}.dcm`), dicomFile(elements))
  }
}

/** The same in one enhanced file of many frames. */
export function writeMultiFrame(folder: string, form: SeriesForm): void {
  mkdirSync(folder, { recursive: true })
  const frame = ctSlice({ width: 23, height: 17 })
  const [, , values] = frame.find(([tag]) => tag === 0x7fe00010)!
  const moved = [0x00200032, 0x00200037, 0x00280030, 0x00180050]
  const elements: DicomElement[] = [
    ...frame.filter(([tag]) => !moved.includes(tag)),
    ...uidElements(),
    [0x00080016, 'UI', '1.2.840.10008.5.1.4.1.1.2.1'],
    [0x00280008, 'IS', `${form.places.length}`],
    [0x7fe00010, 'OW', form.places.flatMap(() => values as number[])],
    [
      0x52009229,
      'SQ',
      [
        [
          [0x00209116, 'SQ', [[orientationElement(form)]]],
          [
            0x00289110,
            'SQ',
            [
              [
                [0x00180050, 'DS', '2'],
                [0x00280030, 'DS', '0.75\\0.5'],
              ],
            ],
          ],
        ],
      ],
    ],
    [
      0x52009230,
      'SQ',
      form.places.map((place): DicomElement[] => [
        [0x00209113, 'SQ', [[[0x00200032, 'DS', positionOf(form, place).map(decimal).join('\\')]]]],
      ]),
    ],
  ]
  writeFileSync(join(folder, 'all.dcm'), dicomFile(elements))
}

/** An image that does not tell where it lies. */
export function writeRadiograph(folder: string): void {
  mkdirSync(folder, { recursive: true })
  const placed = [0x00200032, 0x00200037, 0x00200052, 0x00280030]
  const elements = ctSlice({ width: 23, height: 17 }).filter(([tag]) => !placed.includes(tag))
  writeFileSync(join(folder, 'image.dcm'), dicomFile([...elements, [0x00080060, 'CS', 'DX']]))
}

function uidElements(): DicomElement[] {
  return [[0x0020000d, 'UI', '1.2.3.40']]
}

function orientationElement({ right, down }: SeriesForm): DicomElement {
  return [0x00200037, 'DS', [...right, ...down].map(decimal).join('\\')]
}

function positionOf({ right: [a, b, c], down: [d, e, f] }: SeriesForm, place: number): Vector {
  const normal = [b * f - c * e, c * d - a * f, a * e - b * d]
  return [-10, -20, 30].map((start, axis) => Number(decimal(start + place * normal[axis]!))) as unknown as Vector
}

function decimal(value: number): string {
  return String(Number(value.toFixed(10)))
}

/** A ring with a hole, what lies in the hole and beyond, two that overlap, and scattered voxels. */
export function segmentationOf(volume: Volume): VolumeSegmentation {
  const [width, height, depth] = volume.shape
  const radius = 0.4 * Math.min(width, height)
  const distance = (i: number, j: number) => Math.hypot(i - width / 2, j - height / 2)
  const isRing = (i: number, j: number) => distance(i, j) < radius && distance(i, j) > radius / 2
  const segment = (name: string, colour: string, isSet: (i: number, j: number, k: number) => boolean) => ({
    name,
    class: null,
    probability: null,
    predictedIou: null,
    colour,
    mask: maskOf(volume, isSet),
  })
  const segments: VolumeSegment[] = [
    { ...segment('Ring', '#FF8000', (i, j, k) => isRing(i, j) && k <= depth / 2), class: LIVER },
    segment('Höhle', '#00C040', (i, j) => distance(i, j) < radius / 3 || (i < 2 && j > height - 4)),
    { ...segment('Half', '#3050FF', (i, _, k) => i > width / 2 && k === depth - 1), class: SARCOMA },
    // Holes beside, under and within each other, and corners that touch.
    segment(
      'Scattered',
      '#808080',
      (i, j, k) => i < 40 && j < 40 && k < 6 && ((i * 7919 + j * 104729 + k * 1299709) * 2654435761) % 97 < 62,
    ),
  ]
  return { volume, segments, model: { name: 'seg-sam-tiny', version: '0.3.0', hash: 'ab'.repeat(32) } }
}

const LIVER = { id: 'liver', name: 'Liver', codes: [{ scheme: 'SCT', value: '10200004', meaning: 'Liver' }] }
const SARCOMA = { id: 'soft_tissue_sarcoma', name: 'Soft-tissue sarcoma', codes: [] }

export function maskOf({ shape }: Volume, isSet: (i: number, j: number, k: number) => boolean): VoxelMask {
  const [width, height, depth] = shape
  const data = new Uint8Array(width * height * depth)
  for (let k = 0, at = 0; k < depth; k++) {
    for (let j = 0; j < height; j++) for (let i = 0; i < width; i++) data[at++] = isSet(i, j, k) ? 1 : 0
  }
  return VoxelMask.of(shape, data)
}

/** With fractions of its voxels, some of them 0. */
export function withFractions(segmentation: VolumeSegmentation): VolumeSegmentation {
  const segments = segmentation.segments.map((segment) => ({
    ...segment,
    fractions: Float32Array.from(segment.mask.data, (value, i) => (value ? ((i * 37) % 256) / 255 : 0)),
  }))
  return { ...segmentation, segments }
}

/** Of these segments the ones that do not overlap. */
export function withoutOverlap(segmentation: VolumeSegmentation): VolumeSegmentation {
  return { ...segmentation, segments: segmentation.segments.slice(0, 2) }
}

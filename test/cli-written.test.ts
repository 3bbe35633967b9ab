import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  readVolume,
  SegSam,
  segmentationOfHits,
  type Volume,
  type VolumeSegmentation,
  VoxelMask,
} from '../lib/index.js'
import { classColour } from '../lib/label-map/colours.js'
import { codesOf, type ExpectedSegment, errorsOf, judgedByPydicom, TISSUE } from './dicom-judges.js'
import { FORMS, writeSeries } from './dicom-series.js'
import { expectLabelsByItk } from './itk.js'
import { hasProgram, hasPython } from './outside-tools.js'
import { runProgram } from './run-program.js'

const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const model = fileURLToPath(new URL('../models/seg-sam-tiny', import.meta.url))
const shared = fileURLToPath(new URL('../../shared/data/files', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'seg-sam-written-'))
afterAll(() => rmSync(folder, { recursive: true }))

const hasPydicom = hasPython('pydicom', 'skimage')
const hasDciodvfy = hasProgram('dciodvfy')

/** A series, and where something is on a slice of it. */
interface Source {
  at: string
  slice: number
  boxes: [number, number, number, number][]
}

const [width, height] = [96, 80] as const
const made: Source = {
  at: join(folder, 'source'),
  slice: 2,
  boxes: [
    [10, 25, 50, 60],
    [60, 8, 85, 30],
  ],
}
const liver: Source = { at: join(shared, 'dcmqi/ct-3slice'), slice: 1, boxes: [[120, 150, 300, 350]] }
const sources: [string, Source][] = [
  ['made, oblique series', made],
  ...(existsSync(liver.at) ? [['CT of the liver', liver] satisfies [string, Source]] : []),
]

/** Two bright ellipses on gray, as large as the boxes. */
function ellipses(): Int16Array {
  const within = (i: number, x: number, y: number, a: number, b: number) =>
    ((i % width) - x) ** 2 / a ** 2 + (Math.floor(i / width) - y) ** 2 / b ** 2 < 1
  return Int16Array.from({ length: width * height }, (_, i) =>
    within(i, 30, 42, 20, 17) || within(i, 72, 19, 12, 11) ? 120 : -20,
  )
}

beforeAll(() => {
  writeSeries(made.at, FORMS['oblique, files out of order']!, [], { width, height, values: ellipses() })
})

describe.skipIf(!existsSync(join(model, 'manifest.json')))('the files of', () => {
  test.each(sources)('segment on a %s: the masks that it writes as PNG', async (_, { at, slice, boxes }) => {
    const volume = await readVolume(at)
    const { out, result } = await run('segment', at, '--slice', `${slice}`, ...promptsOf(boxes))
    const segments = await Promise.all(
      result.objects.map(async ({ label, mask }: Json, i: number) => {
        const pixels = await grayOf(join(out, mask.file))
        return segmentOf(label ?? { name: `Object ${i + 1}` }, i + 1, onSlice(volume, slice, pixels))
      }),
    )
    await expectFiles(out, at, volume, segments)
  })

  test.each(sources)('label on a %s: the label map that it writes as PNG', async (_, { at, slice }) => {
    const volume = await readVolume(at)
    const { out, result } = await run('label', at, '--slice', `${slice}`, '--points', '4')
    const labels = await grayOf(join(out, 'labels.png'))
    const instances = result.files.instances && (await grayOf(join(out, 'instances.png')))
    const segments = result.classes.flatMap((found: Json) => {
      const where = ({ data, ...size }: Pixels, wanted: number) =>
        onSlice(volume, slice, { ...size, data: data.map((value) => (value === wanted ? 1 : 0)) })
      if (!found.countable) return [segmentOf(found, found.value, where(labels, found.value))]
      const own = result.instances.filter(({ value }: Json) => value === found.value)
      return own.map(({ number }: Json, i: number) =>
        segmentOf(found, found.value, where(instances, number), `${found.name} ${i + 1}`),
      )
    })
    await expectFiles(out, at, volume, segments)
  })

  test('segment on a coronal slice: the mask across the slices of the source', async () => {
    const volume = await readVolume(made.at)
    const box = `5,0,80,${volume.shape[2] - 1}`
    const { result, out } = await run(
      'segment',
      made.at,
      '--axis',
      'y',
      '--slice',
      '40',
      '--box',
      box,
      '--threshold=-2',
    )
    const [{ label, mask }] = result.objects
    const pixels = await grayOf(join(out, mask.file))
    const { origin, right, down } = result.image.slice.plane
    const values = new Uint8Array(volume.data.length)
    for (const [at, value] of pixels.data.entries()) {
      const [x, y] = [at % pixels.width, Math.floor(at / pixels.width)]
      const [i, j, k] = [0, 1, 2].map((axis) => origin[axis] + x * right[axis] + y * down[axis])
      values[i! + width * (j! + height * k!)] = value
    }
    const segment = segmentOf(label ?? { name: 'Object 1' }, 1, VoxelMask.of(volume.shape, values))
    await expectFiles(out, made.at, volume, [segment])
  })

  test('volume: the objects that segmentVolume finds', async () => {
    const { at, slice, boxes } = made
    const volume = await readVolume(at)
    const { out, result } = await run('volume', at, '--slice', `${slice}`, ...promptsOf(boxes))
    using found = await SegSam.load(model)
    const { segments } = await found.segmentVolume(
      volume,
      boxes.map((box) => ({ slice, box })),
    )
    expect(result.objects.map(({ voxels }: Json) => voxels)).toEqual(segments.map(({ mask }) => mask.count))
    const expected = segments.map(({ mask }, i) =>
      segmentOf(result.objects[i].label ?? { name: `Object ${i + 1}` }, i + 1, mask),
    )
    await expectFiles(out, at, volume, expected)
  })

  test.each(sources)('segment and volume on a %s, fractional: what the model is sure of', async (_, source) => {
    const { at, slice, boxes } = source
    const volume = await readVolume(at)
    using found = await SegSam.load(model)
    const shown = volume.slice('z', slice, volume.window ? { window: 'file' } : {})
    using scene = await found.encode(shown)
    const hits = await scene.segment(
      boxes.map((box) => ({ box })),
      { multimask: false },
    )
    await expectFractions('segment', source, volume, segmentationOfHits(volume, shown, hits, found.info, scene))
    const followed = await found.segmentVolume(
      volume,
      boxes.map((box) => ({ slice, box })),
    )
    await expectFractions('volume', source, volume, followed.withFractions())
  })

  test.each(sources)('volume --label of a %s: the label map of labelVolume', async (_, { at }) => {
    const volume = await readVolume(at)
    const { out, result } = await run('volume', at, '--label', '--points', '4')
    using found = await SegSam.load(model)
    const map = await found.labelVolume(volume, { pointsPerSide: 4 })
    // Each of these label maps has one object at most of a class that is counted.
    const isCounted = (id: string) => found.classes.some((card) => card.id === id && card.countable)
    const segments: ExpectedSegment[] = result.classes.map((each: Json) => {
      const mask = VoxelMask.of(volume.shape, map.data, each.value)
      return segmentOf(each, each.value, mask, isCounted(each.id) ? `${each.name} 1` : each.name)
    })
    // Names and codes are told only by classes.
    expect(segments.filter(({ codes }) => codes !== TISSUE)).not.toEqual([])
    await expectFiles(out, at, volume, segments)
  })
})

// biome-ignore lint/suspicious/noExplicitAny: the JSON of a command
type Json = any

const promptsOf = (boxes: Source['boxes']) => boxes.flatMap((box) => ['--box', box.join()])

/** Runs a command with all formats of volumes. */
async function run(...args: string[]): Promise<{ out: string; result: Json }> {
  const out = mkdtempSync(join(folder, 'out-'))
  const formats = ['--format', 'seg,rtstruct,nifti,nrrd', '--out', out, '--json', '--model', model]
  const { code, stdout, stderr } = await runProgram([program, ...args, ...formats])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return { out, result: JSON.parse(stdout) }
}

/** Of the DICOM SEG of a command: the fractions of a segmentation, one half or more where its masks are set. */
async function expectFractions(
  command: string,
  { at, slice, boxes }: Source,
  volume: Volume,
  { segments }: VolumeSegmentation,
): Promise<void> {
  for (const { mask, fractions } of segments) {
    for (const [i, isSet] of mask.data.entries()) if (isSet) expect(fractions![i]).toBeGreaterThanOrEqual(0.5)
    expect(fractions!.some((share) => share > 0.01 && share < 0.99)).toBe(true)
  }
  const options = ['--slice', `${slice}`, ...promptsOf(boxes), '--seg-type', 'fractional']
  const { out, result } = await run(command, at, ...options)
  const judged = join(out, 'judged')
  mkdirSync(judged)
  copyFileSync(join(out, 'segmentation.dcm'), join(judged, 'seg-fractional.dcm'))
  if (hasDciodvfy) expect(await errorsOf(join(out, 'segmentation.dcm'))).toEqual([])
  const expected = segments.map(({ mask, fractions }, i) => ({
    ...segmentOf(result.objects[i].label ?? { name: `Object ${i + 1}` }, i + 1, mask),
    fractions: fractions!,
  }))
  if (!hasPydicom) return
  expect(await judgedByPydicom(judged, at, { volume, segments: expected })).toEqual({ code: 0, output: 'as meant\n' })
}

interface Pixels {
  width: number
  height: number
  data: Uint8Array | Uint16Array
}

async function grayOf(file: string): Promise<Pixels> {
  const { depth } = await sharp(file).metadata()
  // Without the colour space sharp would pass 16 bits through 8, which leaves nothing of small values.
  const { data, info } = await sharp(file)
    .extractChannel(0)
    .toColourspace(depth === 'ushort' ? 'grey16' : 'b-w')
    .raw({ depth })
    .toBuffer({ resolveWithObject: true })
  const values = depth === 'ushort' ? new Uint16Array(data.buffer, data.byteOffset, data.length / 2) : data
  expect(values).toHaveLength(info.width * info.height)
  return { width: info.width, height: info.height, data: values as Pixels['data'] }
}

/** Pixel (x, y) of slice k along z is voxel (x, y, k). */
function onSlice({ shape }: Volume, k: number, { width, height, data }: Pixels): VoxelMask {
  expect([width, height]).toEqual([shape[0], shape[1]])
  const values = new Uint8Array(shape[0] * shape[1] * shape[2])
  for (const [at, value] of data.entries()) values[at + k * width * height] = value > 0 ? 1 : 0
  return VoxelMask.of(shape, values)
}

/** @param found a class or label in the JSON of a command, or an object that has none; `unknown` has no confidence */
function segmentOf(found: Json, value: number, mask: VoxelMask, name: string = found.name): ExpectedSegment {
  const hasClass = 'id' in found && found.id !== 'unknown'
  return {
    name,
    colour: classColour(value, found.confidence === null),
    codes: hasClass ? codesOf(found) : TISSUE,
    mask,
  }
}

/** Every file holds the segments, in the place of the volume. */
async function expectFiles(out: string, source: string, volume: Volume, segments: ExpectedSegment[]): Promise<void> {
  expect(segments.filter(({ mask }) => mask.count === 0)).toEqual([])
  expect(segments.length).toBeGreaterThan(0)
  const judged = join(out, 'judged')
  mkdirSync(judged)
  const files = { 'segmentation.dcm': 'seg-binary.dcm', 'rtstruct.dcm': 'rt.dcm' }
  for (const [file, name] of Object.entries(files)) {
    copyFileSync(join(out, file), join(judged, name))
    if (hasDciodvfy) expect(await errorsOf(join(out, file))).toEqual([])
  }
  if (hasPydicom) {
    expect(await judgedByPydicom(judged, source, { volume, segments })).toEqual({ code: 0, output: 'as meant\n' })
  }
  await expectLabelsByItk(join(out, 'segmentation.nii.gz'), volume, segments)
  await expectLabelsByItk(join(out, 'segmentation.seg.nrrd'), volume, segments)
}

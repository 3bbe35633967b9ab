import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readVolume, SegSam } from '../lib/index.js'
import { bundle } from './fixture.js'
import { runProgram } from './run-program.js'
import { ctSlice, dicomFile, niftiFile } from './volume-files.js'

const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const run = (...args: string[]) => runProgram([program, 'volume', ...args, '--model', bundle])
const [width, height, depth] = [40, 30, 4] as const
const values = (z: number) => Int16Array.from({ length: width * height }, (_, i) => (i % width > 15 ? 60 + z : -500))
const box = ['--box', '16,4,36,25']
/** With it a mask is the whole slice, whatever the weights. */
const all = '--threshold=-1000'

let folder: string
let series: string
let nifti: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'seg-sam-volume-objects-'))
  series = join(folder, 'series')
  await mkdir(series)
  for (let z = 0; z < depth; z++) {
    const slice = ctSlice({ width, height, position: [0, 0, 5 * z], instance: z + 1, values: values(z) })
    await writeFile(join(series, `${z}.dcm`), dicomFile(slice))
  }
  const stack = Array.from({ length: depth }, (_, z) => [...values(z)]).flat()
  nifti = join(folder, 'ct.nii')
  await writeFile(nifti, niftiFile([width, height, depth], stack, [-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 5, 0]))
  const gray = { raw: { width, height, channels: 1 as const } }
  await sharp(Buffer.alloc(width * height, 99), gray)
    .png()
    .toFile(join(folder, 'picture.png'))
})
afterAll(() => rm(folder, { recursive: true }))

async function sumOf(file: string): Promise<number> {
  return Float64Array.from((await readVolume(file)).data).reduce((sum, value) => sum + value, 0)
}

test('an object followed through a series, in every format, with nothing of the patient', async () => {
  const out = join(folder, 'all')
  const formats = 'nifti,nrrd,seg,rtstruct,csv'
  const { code, stdout, stderr } = await run(
    ...[series, '--slice', '1', ...box, all, '--format', formats, '--out', out, '--json'],
  )
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const result = JSON.parse(stdout)
  expect(JSON.parse(await readFile(join(out, 'result.json'), 'utf8'))).toEqual(result)
  expect(result).toMatchObject({
    schema: 1,
    volume: {
      ...{
        path: series,
        shape: [width, height, depth],
        channels: 1,
        spacing: [0.5, 0.75, 5],
        axis: 'z',
        slices: depth,
      },
      window: { kind: 'linear', low: -160, high: 239 },
    },
    model: { device: 'cpu' },
    rules: { threshold: -1000, margin: 0.03, maxSlices: null },
  })
  const [object] = result.objects
  expect(result.objects).toHaveLength(1)
  expect(object).toMatchObject({ prompt: { slice: 1, box: [16, 4, 36, 25] }, voxels: width * height * depth })
  expect(object.ml).toBeCloseTo((width * height * depth * 0.5 * 0.75 * 5) / 1000, 9)
  expect(object.slices.map(({ slice, area }: { slice: number; area: number }) => [slice, area])).toEqual(
    Array.from({ length: depth }, (_, slice) => [slice, width * height]),
  )
  for (const slice of object.slices) {
    expect(Object.keys(slice)).toEqual(['slice', 'area', 'bbox', 'predictedIou', 'agreement', 'overlap', 'label'])
  }
  expect(object.stops).toMatchObject({ low: { reason: 'end', slice: -1 }, high: { reason: 'end', slice: depth } })

  const files = (Object.values(result.formats) as string[][]).flat()
  expect((await readdir(out)).sort()).toEqual([...files, 'result.json'].sort())
  for (const file of files) expect((await readFile(join(out, file))).includes('Secret')).toBe(false)
  const labels = await readVolume(join(out, 'segmentation.nii.gz'))
  expect(labels.shape).toEqual([width, height, depth])
  expect(await sumOf(join(out, 'segmentation.nii.gz'))).toBe(object.voxels)
  const [head, row] = (await readFile(join(out, 'measurements.csv'), 'utf8'))
    .split('\r\n')
    .map((each) => each.split(','))
  expect(row![head!.indexOf('voxels')]).toBe(`${object.voxels}`)
})

test('several objects, and those without a voxel left out of the files', async () => {
  const out = join(folder, 'empty')
  const { code, stdout } = await run(
    ...[nifti, '--slice', '2', '--point', '20,9', '--point', '2,2,0', '--next', '--point', '30,20', ...box],
    ...['--threshold=1000', '--format', 'nifti,csv', '--out', out],
  )
  expect(code).toBe(0)
  expect(stdout).toContain('point 20,9 not 2,2')
  expect(stdout).toContain('Without a voxel, and in no file but result.json: 1, 2, 3')
  expect(stdout).toContain('(nothing for nifti: no object has a pixel)')
  const { objects, formats } = JSON.parse(await readFile(join(out, 'result.json'), 'utf8'))
  expect(objects.map(({ voxels, label, slices }: typeof objects) => [voxels, label, slices])).toEqual(
    Array.from({ length: 3 }, () => [0, null, []]),
  )
  expect(formats).toEqual({ nifti: [], csv: [] })
  expect(await readdir(out)).toEqual(['result.json'])
})

test('along another axis, in a window', async () => {
  const { code, stdout } = await run(
    ...[nifti, '--slice', '7', '--axis', 'Coronal', '--window', 'lung', '--box', '16,1,36,3', all, '--json'],
  )
  expect(code).toBe(0)
  const { volume, objects } = JSON.parse(stdout)
  expect(volume).toMatchObject({ axis: 'coronal', slices: height, window: { low: -1350, high: 150 } })
  expect(objects[0].voxels).toBe(width * height * depth)
})

test('--label labels every slice as labelVolume does', async () => {
  const out = join(folder, 'labels')
  const { code, stdout, stderr } = await run(
    ...[nifti, '--label', '--points', '2', '--format', 'nifti', '--out', out, '--json'],
  )
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const { volume, classes, labelReason, formats } = JSON.parse(stdout)
  expect(volume).toMatchObject({ slices: depth, axis: 'z', window: { kind: 'linear', low: -500, high: 63 } })
  using model = await SegSam.load(bundle)
  const found = await model.labelVolume(await readVolume(nifti), { pointsPerSide: 2 })
  expect(classes.map(({ voxels }: { voxels: number }) => voxels)).toEqual(found.classes.map(({ voxels }) => voxels))
  expect(labelReason).toBe(found.labelReason)
  expect(formats.nifti).toHaveLength(classes.length > 0 ? 3 : 0)
})

test.each([
  [['--slice', '1'], /no prompt given: add --box or --point on --slice, or --label/],
  [['--label', ...box, '--slice', '1'], /--label takes no prompt/],
  [['--label', '--slice', '1'], /leave out --slice/],
  [['--label', '--threshold', '1'], /--threshold is for prompts/],
  [['--slice', '1', '--points', '4', ...box], /--points is for --label/],
  [['--label', '--seg-type', 'fractional'], /--seg-type may be binary or labelmap/],
  [['--slice', '1', '--seg-type', 'labelmap', ...box], /--seg-type may be binary or fractional/],
  [box, /--slice .* undefined; allowed: 0 to 3 along z/],
  [['--slice', '4', ...box], /--slice .* is 4; allowed: 0 to 3/],
  [['--slice', '1.5', ...box], /'--slice <n>' argument '1\.5'/],
  [['--slice', '1', '--axis', 'w', ...box], /'--axis <axis>' argument 'w'/],
  [['--slice', '1', '--box', '16,4,36,250'], /INVALID_PROMPT: y1 of --box 16,4,36,250 is 250/],
  [['--slice', '1', '--classes', 'no_such_class', ...box], /UNKNOWN_CLASS: --classes has 'no_such_class'/],
  [['--slice', '1', '--window', 'file', ...box], /INVALID_ARGUMENT: --window is 'file'/],
  [['--slice', '1', '--format', 'svg', '--out', 'x', ...box], /Allowed: seg, rtstruct, nifti, nrrd, csv/],
  [['--slice', '1', '--format', 'nifti', ...box], /add --out FOLDER/],
  [['--slice', '1', '--format', 'seg', '--out', 'x', ...box], /no DICOM file/],
  [['--slice', '1', '--format', 'csv', '--out', 'x', '--keep-patient', ...box], /without --format seg or rtstruct/],
])('refuses %j', async (args, message) => {
  const { code, stderr, stdout } = await run(nifti, ...args)
  expect(stdout).toBe('')
  expect(stderr).toMatch(message)
  expect(code).toBe(2)
})

test('refuses a picture', async () => {
  const { code, stderr } = await run(join(folder, 'picture.png'), '--slice', '0', ...box)
  expect(stderr).toMatch(/picture.png is 'a picture'; allowed: DICOM, NIfTI/)
  expect(code).toBe(2)
})

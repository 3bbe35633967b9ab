import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readVolume } from '../lib/index.js'
import { FORMS, writeRadiograph, writeSeries } from './dicom-series.js'
import { bundle } from './fixture.js'
import { runProgram } from './run-program.js'
import { ctSlice, dicomFile, niftiFile } from './volume-files.js'

const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const run = (...args: string[]) => runProgram([program, ...args, '--model', bundle])
const [width, height] = [40, 30]
const values = Int16Array.from({ length: width * height }, (_, i) => (i % width > 15 ? 60 : -500))
const box = ['--box', '16,4,36,25']

const totalSegmentator = fileURLToPath(
  new URL('../../shared/data/files/totalsegmentator/example_ct_dicom', import.meta.url),
)

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'seg-sam-formats-'))
  writeSeries(join(folder, 'sagittal'), FORMS.sagittal!)
  writeSeries(join(folder, 'no-study'), FORMS.axial!, [[0x0020000d, 'UI', '']])
  // Japanese of JIS X 0212, which is not read.
  writeSeries(join(folder, 'jis'), FORMS.axial!, [
    [0x00080005, 'CS', 'ISO 2022 IR 159'],
    [0x00100010, 'PN', 'Secret^\u001b$(D0!'],
  ])
  writeRadiograph(join(folder, 'radiograph'))
  const wide = Int16Array.from({ length: 32768 }, (_, i) => i % 100)
  await writeFile(join(folder, 'wide.dcm'), dicomFile(ctSlice({ width: 32768, height: 1, values: wide })))
  await writeFile(join(folder, 'ct.dcm'), dicomFile(ctSlice({ width, height, values })))
  await writeFile(join(folder, 'ct.nii'), niftiFile([width, height, 1], values, [-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 5, 0]))
  const gray = Uint8Array.from(values, (value) => (value > 0 ? 200 : 20))
  await writeFile(
    join(folder, 'ct.png'),
    await sharp(gray, { raw: { width, height, channels: 1 } })
      .png()
      .toBuffer(),
  )
})
afterAll(() => rm(folder, { recursive: true }))

test('a DICOM slice in every format, and nothing of the patient', async () => {
  const out = join(folder, 'all')
  const formats = 'seg,rtstruct,nifti,nrrd,coco,geojson,svg,csv'
  const { code, stdout, stderr } = await run(
    'segment',
    join(folder, 'ct.dcm'),
    ...box,
    '--format',
    formats,
    '--out',
    out,
    '--json',
    '--threshold=-1000',
  )
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const result = JSON.parse(stdout)
  expect(Object.keys(result.formats)).toEqual(formats.split(','))
  const files = (Object.values(result.formats) as string[][]).flat()
  expect(files).toHaveLength(10)
  for (const file of files) expect(await readdir(out)).toContain(file)
  for (const file of await readdir(out)) expect((await readFile(join(out, file))).includes('Secret')).toBe(false)

  const { area } = result.objects[0].mask
  const labels = await readVolume(join(out, 'segmentation.nii.gz'))
  expect(Float64Array.from(labels.data).reduce((sum, value) => sum + value, 0)).toBe(area)
  expect(labels.shape).toEqual([width, height, 1])
  const coco = JSON.parse(await readFile(join(out, 'coco.json'), 'utf8'))
  expect(coco.annotations[0].segmentation).toEqual(result.objects[0].mask.rle)
  expect(coco.images).toEqual([{ id: 1, width, height, file_name: 'ct.dcm' }])
  const [head, row] = (await readFile(join(out, 'measurements.csv'), 'utf8'))
    .split('\r\n')
    .map((line) => line.split(','))
  expect(row![head!.indexOf('voxels')]).toBe(`${area}`)
  expect(row![head!.indexOf('intensity_unit')]).toBe('HU')
})

test('a picture in the formats of pictures, label', async () => {
  const out = join(folder, 'picture')
  const formats = 'coco,geojson,svg,csv'
  const { code, stderr } = await run(
    'label',
    join(folder, 'ct.png'),
    '--points',
    '2',
    '--format',
    formats,
    '--out',
    out,
  )
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const { formats: written } = JSON.parse(await readFile(join(out, 'result.json'), 'utf8'))
  expect(written).toEqual({
    coco: ['coco.json'],
    geojson: ['objects.geojson'],
    svg: ['objects.svg'],
    csv: ['measurements.csv'],
  })
})

test.each([
  ['ct.png', ['--format', 'nifti,svg', '--out', 'x'], /picture.*--format is nifti; allowed.*coco, geojson, svg, csv/],
  ['ct.nii', ['--format', 'seg', '--out', 'x'], /no DICOM file/],
  ['ct.png', ['--format', 'svg'], /add --out FOLDER/],
  ['ct.png', ['--format', 'bmp', '--out', 'x'], /seg, rtstruct, nifti/],
  ['ct.dcm', ['--format', 'nifti', '--keep-patient', '--out', 'x'], /without --format seg or rtstruct/],
  ['ct.dcm', ['--format', 'nifti', '--seg-type', 'fractional', '--out', 'x'], /--seg-type .* without --format seg/],
  ['ct.dcm', ['--format', 'seg', '--seg-type', 'labelmap', '--out', 'x'], /binary, fractional/],
])('refuses %s with %j', async (file, args, message) => {
  const { code, stdout, stderr } = await run('segment', join(folder, file), ...box, ...args)
  expect(stdout).toBe('')
  expect(stderr).toMatch(message)
  expect(code).toBe(2)
})

/** Runs a command without a model, so that what it says first is what it looks at first. */
async function refusalOf(command: string[], source: string, formats: string[]) {
  const [out, model] = [join(folder, 'refused'), join(folder, 'no-model')]
  const [name, ...options] = command
  const { code, stdout, stderr } = await runProgram([
    ...[program, name!, resolve(folder, source), ...options, '--model', model, '--out', out, '--format', ...formats],
  ])
  expect(stdout).toBe('')
  expect(stderr).not.toContain('Secret')
  expect(existsSync(out)).toBe(false)
  return { code, stderr }
}

const onFirstSlice = ['--slice', '0', '--box', '1,1,9,9']
const unreadable = /character set.*Leave out --keep-patient/

test.each<[string, string[], RegExp, number]>([
  ['sagittal', ['rtstruct'], /not axial.*--format seg\./, 2],
  ['radiograph', ['nifti,rtstruct'], /Pixel Spacing/, 2],
  ['no-study', ['seg'], /no Study Instance UID/, 2],
  ['no-study', ['rtstruct'], /no Study Instance UID/, 2],
  ['jis', ['seg', '--keep-patient'], unreadable, 1],
  ['jis', ['rtstruct', '--keep-patient'], unreadable, 1],
  ['wide.dcm', ['nifti'], /at most 32767 voxels a side/, 2],
])('before the model is loaded refuses %s as %j', async (source, formats, message, code) => {
  const refusal = await refusalOf(['segment', ...onFirstSlice], source, formats)
  expect(refusal).toEqual({ code, stderr: expect.stringMatching(message) })
})

test.each([[['label', '--slice', '0']], [['volume', ...onFirstSlice]], [['volume', '--label']]])(
  'so does %j',
  async (command) => {
    const refusal = await refusalOf(command, 'sagittal', ['rtstruct'])
    expect(refusal).toEqual({ code: 2, stderr: expect.stringContaining('not axial') })
  },
)

test.skipIf(!existsSync(totalSegmentator))('a published series without Study Instance UID', async () => {
  const refusal = await refusalOf(['segment', ...onFirstSlice], totalSegmentator, ['seg'])
  expect(refusal).toEqual({ code: 2, stderr: expect.stringContaining('no Study Instance UID') })
})

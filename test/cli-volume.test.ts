import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import sharp from 'sharp'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { bundle } from './fixture.js'
import { runProgram } from './run-program.js'
import { ctSlice, dicomFile, niftiFile } from './volume-files.js'

const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const run = (...args: string[]) => runProgram([program, ...args, '--model', bundle])
const [width, height, depth] = [40, 30, 4] as const
const values = (z: number) => Int16Array.from({ length: width * height }, (_, i) => (i % width > 15 ? 60 + z : -500))

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'seg-sam-volume-'))
  await mkdir(join(folder, 'series'))
  for (let z = 0; z < depth; z++) {
    const slice = ctSlice({ width, height, position: [0, 0, 5 * z], instance: z + 1, values: values(z) })
    await writeFile(join(folder, 'series', `${z}.dcm`), dicomFile(slice))
  }
  const stack = Array.from({ length: depth }, (_, z) => [...values(z)]).flat()
  const nifti = niftiFile([width, height, depth], stack, [-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 5, 0])
  await writeFile(join(folder, 'ct.nii.gz'), gzipSync(nifti))
})
afterAll(() => rm(folder, { recursive: true }))

test('a DICOM file is shown by its window, which the result tells', async () => {
  const out = join(folder, 'out')
  const { code, stdout, stderr } = await run(
    'segment',
    join(folder, 'series', '1.dcm'),
    '--box',
    '16,4,36,25',
    '--json',
    '--out',
    out,
  )
  expect(stderr).toBe('')
  expect(code).toBe(0)
  const { image, objects } = JSON.parse(stdout)
  expect(image).toMatchObject({ width, height, channels: 1, slice: { axis: 'z', index: 0, spacing: [0.5, 0.75] } })
  expect(image.slice.window).toEqual({ kind: 'linear', low: -160, high: 239, inverted: false })
  expect(objects[0].mask.rle.size).toEqual([height, width])
  const mask = await sharp(join(out, 'mask-1.png')).metadata()
  expect([mask.width, mask.height]).toEqual([width, height])
  await readFile(join(out, 'overlay.png'))
})

test('a slice of a NIfTI file along any axis, in pixels of the slice', async () => {
  const file = join(folder, 'ct.nii.gz')
  const axial = await run(
    'segment',
    file,
    '--slice',
    '2',
    '--axis',
    'z',
    '--window',
    'soft-tissue',
    '--box',
    '16,4,36,25',
    '--json',
  )
  expect(axial).toMatchObject({ code: 0, stderr: '' })
  expect(JSON.parse(axial.stdout).image).toMatchObject({
    width,
    height,
    slice: { index: 2, window: { low: -160, high: 240 } },
  })
  const coronal = await run('segment', file, '--slice', '7', '--axis', 'coronal', '--box', '16,1,36,3', '--json')
  expect(JSON.parse(coronal.stdout).image).toMatchObject({ width, height: depth, slice: { window: null } })
})

test('the folder of a series, label', async () => {
  const { code, stdout } = await run('label', join(folder, 'series'), '--slice', '3', '--points', '2', '--json')
  expect(code).toBe(0)
  expect(JSON.parse(stdout).image).toMatchObject({ width, height, slice: { index: 3, warnings: [] } })
})

test.each([
  [['--axis', 'z'], /--slice .* undefined; allowed: 0 to 3/],
  [['--slice', '4'], /--slice .* is 4; allowed: 0 to 3/],
  [['--slice', '1', '--axis', 'w'], /'--axis <axis>' argument 'w'/],
  [['--page', '1'], /--slice, not --page/],
  [['--slice', '1', '--window', 'file'], /INVALID_ARGUMENT: --window is 'file'/],
  [['--slice', '1', '--window', 'kidney'], /soft-tissue/],
])('refuses %j', async (args, message) => {
  const { code, stderr, stdout } = await run('segment', join(folder, 'ct.nii.gz'), '--box', '1,1,9,9', ...args)
  expect(stdout).toBe('')
  expect(stderr).toMatch(message)
  expect(code).toBe(2)
})

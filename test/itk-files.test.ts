import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { readImageNode, writeImageNode } from '@itk-wasm/image-io'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { readImage, readVolume, type Volume } from '../lib/index.js'
import { hasProgram, runTool } from './outside-tools.js'
import { runProgram } from './run-program.js'

const reader = fileURLToPath(new URL('mutated/read-mutated.mjs', import.meta.url))
const REFUSALS = ['INVALID_IMAGE', 'UNSUPPORTED_FORMAT', 'INVALID_ARGUMENT']

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'seg-sam-itk-'))
})
afterAll(() => rm(folder, { recursive: true }))

const SHORTS = Int16Array.from({ length: 60 }, (_, i) => 37 * i - 1000)

/** The NRRD of Teem, whose format it is. */
async function unu(...args: string[]): Promise<void> {
  const { code, output } = await runTool('teem-unu', args)
  expect(code, output).toBe(0)
}

async function made(name: string, type: string, bytes: Uint8Array, sizes: string, ...more: string[]): Promise<string> {
  const raw = join(folder, `${name}.bin`)
  const path = join(folder, `${name}.nrrd`)
  await writeFile(raw, bytes)
  await unu('make', '-i', raw, '-t', type, '-s', ...sizes.split(' '), '-en', 'little', '-e', 'raw', ...more, '-o', path)
  return path
}

const OBLIQUE = ['-dirs', '(0.7,0.1,0)(-0.1,0.8,0)(0,0,2.5)', '-orig', '(1,2,3)']
const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => new Uint8Array(buffer, byteOffset, byteLength)

describe.skipIf(!hasProgram('teem-unu'))('NRRD as Teem writes it', () => {
  test.each(['raw', 'gzip', 'ascii', 'hex'])('%s', async (encoding) => {
    const plain = await made(`plain-${encoding}`, 'short', bytesOf(SHORTS), '5 4 3', '-spc', 'LPS', ...OBLIQUE)
    const path = join(folder, `${encoding}.nrrd`)
    await unu('save', '-f', 'nrrd', '-e', encoding, '-i', plain, '-o', path)
    for (const input of [path, await readFile(path), gzipSync(await readFile(path))]) {
      const volume = await readVolume(input)
      expect(volume.shape).toEqual([5, 4, 3])
      expect(volume.data).toEqual(SHORTS)
      expectAffine(volume, [0.7, -0.1, 0, 1, 0.1, 0.8, 0, 2, 0, 0, 2.5, 3])
      expect(volume.warnings).toEqual([])
    }
  })

  test('RAS and LAS become LPS, micrometres millimetres', async () => {
    const signs = { RAS: [-1, -1], LAS: [1, -1] }
    for (const [space, [x, y]] of Object.entries(signs) as [string, [number, number]][]) {
      const volume = await readVolume(await made(space, 'short', bytesOf(SHORTS), '5 4 3', '-spc', space, ...OBLIQUE))
      expectAffine(volume, [0.7 * x, -0.1 * x, 0, x, 0.1 * y, 0.8 * y, 0, 2 * y, 0, 0, 2.5, 3])
    }
    const units = ['-spc', 'LPS', ...OBLIQUE, '-spu', 'um', 'um', 'um']
    const volume = await readVolume(await made('um', 'short', bytesOf(SHORTS), '5 4 3', ...units))
    expect(volume.spacing[2]).toBeCloseTo(0.0025, 9)
  })

  test('a file without the patient is read with a warning', async () => {
    const volume = await readVolume(await made('bare', 'short', bytesOf(SHORTS), '5 4 3', '-sp', '2', '2', '3'))
    expect(volume.warnings.map(({ code }) => code)).toEqual(['NO_GEOMETRY'])
    expect(volume.spacing).toEqual([2, 2, 3])
  })

  test.each([
    ['uchar', Uint8Array],
    ['int8', Int8Array],
    ['ushort', Uint16Array],
    ['int', Int32Array],
    ['uint', Uint32Array],
    ['float', Float32Array],
    ['double', Float64Array],
  ])('values of %s, in both byte orders', async (type, Type) => {
    const values = new Type([...Array(24).keys()].map((i) => i * 5))
    const little = await made(`little-${type}`, type, bytesOf(values), '4 3 2')
    const big = join(folder, `big-${type}.nrrd`)
    await unu('save', '-f', 'nrrd', '-e', 'raw', '-en', 'big', '-i', little, '-o', big)
    for (const path of [little, big]) expect([...(await readVolume(path)).data]).toEqual([...values])
  })

  test('a header whose voxels lie beside it is read by its path', async () => {
    const plain = await made('beside', 'short', bytesOf(SHORTS), '5 4 3', '-spc', 'LPS', ...OBLIQUE)
    const path = join(folder, 'beside.nhdr')
    await unu('save', '-f', 'nrrd', '-e', 'raw', '-i', plain, '-o', path)
    expect((await readVolume(path)).data).toEqual(SHORTS)
    await expect(readVolume(await readFile(path))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('bzip2 is refused by name', async () => {
    const plain = await made('packed', 'short', bytesOf(SHORTS), '5 4 3')
    const path = join(folder, 'bzip2.nrrd')
    await unu('save', '-f', 'nrrd', '-e', 'bzip2', '-i', plain, '-o', path)
    const refused = { code: 'UNSUPPORTED_FORMAT', message: expect.stringContaining('bzip2') }
    await expect(readVolume(path)).rejects.toMatchObject(refused)
  })
})

const nrrd = (fields: string[], bytes: Uint8Array) =>
  Buffer.concat([Buffer.from(`${['NRRD0004', 'type: uchar', 'encoding: raw', ...fields].join('\n')}\n\n`), bytes])
const upTo = (count: number) => Uint8Array.from({ length: count }, (_, i) => i)

test('several volumes of a NRRD are chosen by index, colours are channels', async () => {
  const list = ['dimension: 4', 'sizes: 3 4 2 1', 'space: LPS', 'space directions: none (1,0,0) (0,1,0) (0,0,1)']
  const layers = nrrd([...list, 'kinds: list domain domain domain'], upTo(24))
  expect([...(await readVolume(layers, { index: 1 })).data]).toEqual([1, 4, 7, 10, 13, 16, 19, 22])
  await expect(readVolume(layers)).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: expect.stringContaining('3 volumes'),
  })
  const colour = await readVolume(nrrd([...list, 'kinds: RGB-color domain domain domain'], upTo(24)))
  expect(colour.channels).toBe(3)
  expect([...colour.data]).toEqual([...upTo(24)])
  const times = nrrd(['dimension: 4', 'sizes: 4 2 1 3'], upTo(24))
  expect([...(await readVolume(times, { index: 2 })).data]).toEqual([16, 17, 18, 19, 20, 21, 22, 23])
})

test('a NRRD of two dimensions is an image', async () => {
  const picture = nrrd(['dimension: 2', 'sizes: 4 2', 'spacings: 1 2'], upTo(8))
  expect(await readImage(picture)).toMatchObject({ width: 4, height: 2, channels: 1, data: upTo(8) })
})

const META = [
  'ObjectType = Image',
  'NDims = 3',
  'BinaryData = True',
  'BinaryDataByteOrderMSB = False',
  'TransformMatrix = 1 0 0 0 1 0 0 0 1',
  'Offset = 4 5 6',
  'ElementSpacing = 1 1 2',
]
const metaImage = (fields: string[], bytes: Uint8Array, where = 'LOCAL') =>
  Buffer.concat([Buffer.from(`${[...META, ...fields, `ElementDataFile = ${where}`].join('\n')}\n`), bytes])

test('a MetaImage has the voxels and the place of the NIfTI that ITK made it of', async () => {
  const nifti = fileURLToPath(new URL('../build/reference/nifti/n1_i2_le.nii.gz', import.meta.url))
  if (!existsSync(nifti)) return expect(process.env.CI).toBeUndefined()
  const expected = await readVolume(nifti)
  const image = await readImageNode(nifti)
  for (const [name, options] of [
    ['plain.mha', {}],
    ['packed.mha', { useCompression: true }],
    ['detached.mhd', {}],
  ] as const) {
    const path = join(folder, name)
    await writeImageNode(image, path, options)
    const volume = await readVolume(path)
    expect(volume.data).toEqual(expected.data)
    expectAffine(volume, expected.affine.slice(0, 12))
    expect(volume.warnings).toEqual([])
  }
})

test('three channels of a MetaImage are colours, others are chosen by index', async () => {
  const size = ['DimSize = 4 2 1', 'ElementType = MET_UCHAR']
  const colour = await readVolume(metaImage(['ElementNumberOfChannels = 3', ...size], upTo(24)))
  expect([colour.channels, ...colour.data]).toEqual([3, ...upTo(24)])
  const pair = metaImage(['ElementNumberOfChannels = 2', ...size], upTo(16))
  expect([...(await readVolume(pair, { index: 0 })).data]).toEqual([0, 2, 4, 6, 8, 10, 12, 14])
})

test('the slope and offset of a MetaImage give physical values', async () => {
  const scale = ['ElementToIntensityFunctionSlope = 2', 'ElementToIntensityFunctionOffset = -5']
  const volume = await readVolume(metaImage([...scale, 'DimSize = 4 1 1', 'ElementType = MET_UCHAR'], upTo(4)))
  expect([...volume.data]).toEqual([-5, -3, -1, 1])
})

test('micrometres of a MetaImage become millimetres', async () => {
  const fields = ['DistanceUnits = um', 'DimSize = 4 1 1', 'ElementType = MET_UCHAR']
  const volume = await readVolume(metaImage(fields, upTo(4)))
  expect(volume.spacing[2]).toBeCloseTo(0.002, 9)
})

test.each([
  ['MET_LONG', metaImage(['DimSize = 1 1 1', 'ElementType = MET_LONG'], upTo(4))],
  ['CompressedDataSize', metaImage(['CompressedData = True', 'DimSize = 4 1 1', 'ElementType = MET_UCHAR'], upTo(4))],
])('a MetaImage is refused by its %s', async (word, content) => {
  const refused = { code: 'UNSUPPORTED_FORMAT', message: expect.stringContaining(word) }
  await expect(readVolume(content)).rejects.toMatchObject(refused)
})

test('a header leads to no file outside its folder', async () => {
  const secret = join(tmpdir(), `seg-sam-secret-${process.pid}`)
  await writeFile(secret, upTo(8))
  const fields = ['DimSize = 4 2 1', 'ElementType = MET_UCHAR']
  try {
    for (const where of [secret, `../${secret.split('/').at(-1)}`]) {
      const path = join(folder, 'leads-away.mhd')
      await writeFile(path, metaImage(fields, upTo(0), where))
      await expect(readVolume(path)).rejects.toMatchObject({ code: 'INVALID_IMAGE' })
    }
  } finally {
    await rm(secret)
  }
})

test.each([
  ['a truncated NRRD', nrrd(['dimension: 3', 'sizes: 4 2 1'], upTo(5)), 'damaged'],
  ['a NRRD without sizes', nrrd(['dimension: 3'], upTo(8)), 'sizes'],
  ['a NRRD of a huge size', nrrd(['dimension: 3', 'sizes: 100000 100000 10'], upTo(8)), 'maxVoxels'],
  ['a NRRD of no size', nrrd(['dimension: 3', 'sizes: 4 0 1'], upTo(8)), 'at least 1'],
  [
    'a MetaImage with a damaged zlib stream',
    metaImage(
      ['CompressedData = True', 'CompressedDataSize = 8', 'DimSize = 4 2 1', 'ElementType = MET_UCHAR'],
      upTo(8),
    ),
    'unfold',
  ],
  [
    'a NRRD of directions in one plane',
    nrrd(['dimension: 3', 'sizes: 4 2 1', 'space: RAS', 'space directions: (0,0,0) (0,1,0) (0,0,1)'], upTo(8)),
    'plane',
  ],
  ['a truncated MetaImage', metaImage(['DimSize = 4 2 1', 'ElementType = MET_UCHAR'], upTo(5)), 'damaged'],
  [
    'a MetaImage of a huge size',
    metaImage(['DimSize = 90000 90000 9', 'ElementType = MET_UCHAR'], upTo(5)),
    'maxVoxels',
  ],
])('%s is refused', async (_, content, message) => {
  await expect(readVolume(content)).rejects.toMatchObject({
    code: 'INVALID_IMAGE',
    message: expect.stringContaining(message),
  })
})

function expectAffine(volume: Volume, rows: readonly number[]): void {
  for (const [i, value] of rows.entries()) expect(volume.affine[i]).toBeCloseTo(value, 5)
}

test('mutated files are read or refused, without a crash or a hang', async () => {
  const mutated = await mkdtemp(join(tmpdir(), 'seg-sam-mutated-'))
  onTestFinished(() => rm(mutated, { recursive: true }))
  const space = ['dimension: 3', 'sizes: 5 4 3', 'space: RAS', 'space directions: (1,0,0) (0,1,0) (0,0,1)']
  await writeFile(join(mutated, 'a.nrrd'), nrrd(space, upTo(60)))
  await writeFile(join(mutated, 'b.mha'), metaImage(['DimSize = 5 4 3', 'ElementType = MET_UCHAR'], upTo(60)))
  const { code, stdout, stderr } = await runProgram([reader, mutated, '80', '7'])
  expect(stderr).toBe('')
  expect(code).toBe(0)
  const { read, errors, strange } = JSON.parse(stdout)
  expect(strange).toEqual([])
  expect(Object.keys(errors).filter((name) => !REFUSALS.includes(name))).toEqual([])
  expect(read).toBeGreaterThan(10)
  expect(errors.INVALID_IMAGE).toBeGreaterThan(10)
})

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { inflate } from 'node:zlib'
import { SegSamError } from '../errors.js'
import { type Affine, affineOf, type Vector } from '../volume/affine.js'
import { Volume } from '../volume.js'
import type { FileInput } from './content.js'
import { type ItkHeader, metaImageHeader, nrrdHeader, voxelsBehind } from './itk-header.js'
import { checkSize, damaged } from './limits.js'
import { physical, type RawData, warningsOfValues, withoutAlpha } from './numbers.js'
import { chosenVolume } from './volume-index.js'

/** The package that reads them, which users install beside this one. */
const ITK = '@itk-wasm/image-io'

const FORMATS = {
  nrrd: {
    title: 'NRRD',
    header: nrrdHeader,
    reader: 'nrrdReadImageNode',
    extension: '.nrrd',
    extensions: '.nhdr or .nrrd',
    detached: /\.(nhdr|nrrd)$/,
  },
  metaimage: {
    title: 'MetaImage',
    header: metaImageHeader,
    reader: 'metaReadImageNode',
    extension: '.mha',
    extensions: '.mhd or .mha',
    detached: /\.mh[da]$/,
  },
} as const

/** NRRD's encodings that ITK's build for WebAssembly has. */
const ENCODINGS = ['raw', 'gzip', 'gz', 'text', 'txt', 'ascii', 'hex']

/** What ITK gives. Its directions are those of LPS, column by column the unit vectors of the axes. */
interface ItkImage {
  imageType: { dimension: number; pixelType: string; components: number }
  size: number[]
  origin: number[]
  spacing: number[]
  direction: ArrayLike<number>
  data: RawData
}

/**
 * Reads NRRD (`.nrrd`, `.nhdr`) and MetaImage (`.mha`, `.mhd`) with ITK, where `@itk-wasm/image-io` is installed.
 *
 * @param input where the content comes from: a header whose voxels lie in another file is read from its folder
 * @throws SegSamError `UNSUPPORTED_FORMAT`, `INVALID_IMAGE`, `INVALID_ARGUMENT` (index, a detached header that is no path)
 */
export async function readByItk(
  content: Uint8Array,
  format: keyof typeof FORMATS,
  name: string,
  input: FileInput,
  { index, maxVoxels }: { index: number | undefined; maxVoxels: number },
): Promise<Volume> {
  const { title, reader, extension, detached, extensions } = FORMATS[format]
  const header = FORMATS[format].header(content, name)
  checkSize(name, header.sizes, maxVoxels)
  if (header.encoding !== null && !ENCODINGS.includes(header.encoding)) {
    throw new SegSamError(
      'UNSUPPORTED_FORMAT',
      `${name} is NRRD with encoding ${header.encoding}; allowed: raw, gzip, text, hex. Save it again with one of them.`,
    )
  }
  const module = itkModule(name, title)
  if (header.isDetached) {
    const path = input instanceof URL ? fileURLToPath(input) : input
    if (typeof path !== 'string' || !detached.test(path)) {
      throw new SegSamError(
        'INVALID_ARGUMENT',
        `${name} is a header of ${title} whose voxels lie in another file. Give its path, which ends in ${extensions}.`,
      )
    }
    return volumeOf(await readInThread(module, reader, resolve(path), name), header, format, name, index)
  }
  if (header.unfoldsTo !== null) await checkUnfolds(content, header.unfoldsTo, name)
  const folder = await mkdtemp(join(tmpdir(), 'seg-sam-'))
  try {
    const path = join(folder, `volume${extension}`)
    await writeFile(path, content)
    return volumeOf(await readInThread(module, reader, path, name), header, format, name, index)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** ITK takes a damaged zlib stream for zeros. */
async function checkUnfolds(content: Uint8Array, bytes: number, name: string): Promise<void> {
  try {
    const unfolded = await promisify(inflate)(voxelsBehind(content), { maxOutputLength: bytes })
    if (unfolded.length === bytes) return
  } catch (cause) {
    throw damaged(name, `its voxels do not unfold (${(cause as Error).message})`)
  }
  throw damaged(name, `its voxels do not unfold to ${bytes} bytes`)
}

function itkModule(name: string, title: string): string {
  try {
    return pathToFileURL(createRequire(import.meta.url).resolve(ITK)).href
  } catch (cause) {
    throw new SegSamError(
      'UNSUPPORTED_FORMAT',
      `${name} is ${title}, which ITK reads, and ${ITK} is not installed. Install it beside this package: npm install ${ITK}`,
      { cause },
    )
  }
}

/** ITK decodes without giving way, and writes to the console what it cannot read: both stay in the thread. */
const THREAD = `
  const { parentPort, workerData } = require('node:worker_threads')
  const { module, reader, path } = workerData
  import(module)
    .then((itk) => itk[reader](path))
    .then(({ couldRead, image }) => parentPort.postMessage(couldRead ? image : null))
    .catch(() => parentPort.postMessage(null))
`

const UNREAD =
  'ITK cannot read it. It may also name a file of voxels that is not in its folder, or have an axis outside of space that ' +
  "is not of NRRD's kind list"

function readInThread(module: string, reader: string, path: string, name: string): Promise<ItkImage> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(THREAD, {
      eval: true,
      // Flags such as --input-type would change what the program means.
      execArgv: [],
      workerData: { module, reader, path },
      stdout: true,
      stderr: true,
    })
    thread.once('message', (image: ItkImage | null) => {
      void thread.terminate()
      if (image) resolve(image)
      else reject(damaged(name, UNREAD))
    })
    thread.once('error', (cause) => reject(damaged(name, `ITK cannot read it (${cause.message})`)))
    thread.once('exit', () => reject(damaged(name, UNREAD)))
  })
}

function volumeOf(
  image: ItkImage,
  header: ItkHeader,
  format: keyof typeof FORMATS,
  name: string,
  index: number | undefined,
): Volume {
  const { pixelType, components } = image.imageType
  if (/complex/i.test(pixelType)) {
    throw new SegSamError('UNSUPPORTED_FORMAT', `${name} holds complex numbers; allowed: integers and floats.`)
  }
  if (image.data.length !== components * image.size.reduce((product, size) => product * size, 1)) {
    throw damaged(name, `it has ${image.data.length} values, which are not those of its size ${image.size.join(' x ')}`)
  }
  const shape: Vector = [image.size[0]!, image.size[1] ?? 1, image.size[2] ?? 1]
  const isColour =
    /^RGBA?$/.test(pixelType) || (format === 'metaimage' && image.data instanceof Uint8Array && components === 3)
  const layers = isColour ? 1 : components
  const volumes = layers * image.size.slice(3).reduce((product, size) => product * size, 1)
  const chosen = chosenVolume(index, volumes, name)
  const values = shape[0] * shape[1] * shape[2] * components
  const volume = image.data.slice(Math.floor(chosen / layers) * values, (Math.floor(chosen / layers) + 1) * values)
  const voxels = physical(
    layers === 1 ? volume : layerOf(volume, layers, chosen % layers),
    header.slope,
    header.intercept,
  )
  const warnings = warningsOfValues([voxels])
  if (!header.hasGeometry) {
    warnings.push({
      code: 'NO_GEOMETRY',
      message:
        'The file does not say how the patient lies: i is taken to go to the left, j to the back, k to the head.',
    })
  }
  return new Volume({
    data: isColour && components === 4 ? withoutAlpha(voxels.data as Uint8Array) : voxels.data,
    shape,
    channels: isColour ? 3 : 1,
    affine: header.affine ?? affineOfItk(image, header.millimetres),
    unit: null,
    modality: null,
    window: null,
    inverted: false,
    warnings,
    dicom: null,
  })
}

/** One of the interleaved components. */
function layerOf(data: RawData, layers: number, layer: number): RawData {
  const kept = new (data.constructor as new (length: number) => RawData)(data.length / layers)
  for (let i = 0; i < kept.length; i++) kept[i] = data[i * layers + layer]!
  return kept
}

/** An axis that an image of two dimensions lacks goes to the head, in steps of 1 mm. */
function affineOfItk({ imageType, origin, spacing, direction }: ItkImage, millimetres: number): Affine {
  const { dimension } = imageType
  const step = (axis: number, row: number) => {
    if (axis >= dimension || row >= dimension) return axis === row ? 1 : 0
    return direction[dimension * row + axis]! * spacing[axis]! * millimetres
  }
  const column = (axis: number): Vector => [step(axis, 0), step(axis, 1), step(axis, 2)]
  const at = (row: number) => (origin[row] ?? 0) * millimetres
  return affineOf([column(0), column(1), column(2)], [at(0), at(1), at(2)])
}

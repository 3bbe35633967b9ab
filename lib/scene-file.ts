import { createHash, randomUUID } from 'node:crypto'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import type { SceneFeatures } from '../binding.js'
import type { Manifest } from './bundle.js'
import { SegSamError, unexpected } from './errors.js'

/*
 * A saved scene, version 1. Numbers are little-endian.
 *
 *   8 bytes   SEGSCENE
 *   uint32    version of the format
 *   uint32    length of the header in bytes
 *   header    JSON, UTF-8: what the features are, and of which bundle
 *   float32   the values of the features, one tensor after the other
 *   32 bytes  SHA-256 of all that comes before
 */

const MAGIC = 'SEGSCENE'
const VERSION = 1
const PREFIX_BYTES = 16
const CHECKSUM_BYTES = 32

const side = z.int().positive()
const headerSchema = z.object({
  bundle: z.string(),
  precision: z.enum(['fp32', 'bf16', 'fp16', 'int8']),
  width: side,
  height: side,
  shapes: z.array(z.array(side).min(1)),
})

/** What a model must be to take features of another: the same files, the same preparation of images, the same arithmetic. */
export interface SceneOrigin {
  /** SHA-256. */
  bundle: string
  precision: 'fp32' | 'bf16' | 'fp16' | 'int8'
}

export function originOf(manifest: Manifest, precision: SceneOrigin['precision']): SceneOrigin {
  const { image_size, mask_size, resize_mode, pixel_mean, pixel_std, files } = manifest
  const weights = [files['encoder.pt']!.sha256, files['decoder.pt']!.sha256]
  const identity = JSON.stringify([weights, image_size, mask_size, resize_mode, pixel_mean, pixel_std])
  return { bundle: createHash('sha256').update(identity).digest('hex'), precision }
}

export function sceneToBytes({ width, height, shapes, data }: SceneFeatures, origin: SceneOrigin): Uint8Array {
  const header = Buffer.from(
    JSON.stringify({ ...origin, width, height, shapes } satisfies z.input<typeof headerSchema>),
  )
  const prefix = Buffer.alloc(PREFIX_BYTES)
  prefix.write(MAGIC, 'latin1')
  prefix.writeUInt32LE(VERSION, 8)
  prefix.writeUInt32LE(header.length, 12)
  const values = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  const parts = [prefix, header, values]
  return new Uint8Array(Buffer.concat([...parts, checksum(...parts)]))
}

/**
 * @param name of the file, or what else to call it in an error
 * @throws SegSamError `SCENE_INVALID`: no saved scene, of another version, or damaged. `SCENE_MISMATCH`: of another bundle
 *   or precision
 */
export function sceneFromBytes(bytes: Uint8Array, origin: SceneOrigin, name: string): SceneFeatures {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (file.toString('latin1', 0, MAGIC.length) !== MAGIC) throw invalid(name, 'is not a scene that scene.save wrote')
  if (file.length < PREFIX_BYTES + CHECKSUM_BYTES) throw invalid(name, `is truncated: it has ${file.length} bytes`)
  const version = file.readUInt32LE(MAGIC.length)
  if (version !== VERSION) {
    throw invalid(name, `has version ${version} of the format; this version of seg-sam reads ${VERSION}`)
  }
  const end = file.length - CHECKSUM_BYTES
  if (!checksum(file.subarray(0, end)).equals(file.subarray(end))) {
    throw invalid(name, 'is truncated or damaged: its checksum does not match its content')
  }

  const start = PREFIX_BYTES + file.readUInt32LE(MAGIC.length + 4)
  const header = headerOf(file.toString('utf8', PREFIX_BYTES, start), name)
  const { bundle, precision, width, height, shapes } = header
  const values = shapes.reduce((sum, shape) => sum + shape.reduce((product, size) => product * size, 1), 0)
  if (end - start !== values * Float32Array.BYTES_PER_ELEMENT) {
    throw invalid(name, `has ${end - start} bytes of features; its header tells of ${values} values`)
  }
  if (bundle !== origin.bundle) {
    throw mismatch(
      name,
      `is of the bundle with the hash ${bundle.slice(0, 12)}; the model's is ${origin.bundle.slice(0, 12)}`,
    )
  }
  if (precision !== origin.precision) {
    throw mismatch(name, `was encoded with precision ${precision}; the model has ${origin.precision}`)
  }
  const data = new Float32Array(Uint8Array.from(file.subarray(start, end)).buffer)
  return { width, height, shapes, data }
}

/** @throws SegSamError `WRITE_FAILED`, `INVALID_ARGUMENT` */
export async function writeWhole(path: string | URL, bytes: Uint8Array): Promise<void> {
  if (typeof path !== 'string' && !(path instanceof URL)) {
    throw unexpected('INVALID_ARGUMENT', 'path', path, 'a path or a file URL', 'Leave it out to have the bytes.')
  }
  const target = typeof path === 'string' ? path : pathOf(path)
  const partial = `${target}.${randomUUID()}.part`
  try {
    await writeFile(partial, bytes)
    await rename(partial, target)
  } catch (cause) {
    await rm(partial, { force: true }).catch(() => {})
    throw new SegSamError('WRITE_FAILED', `The scene cannot be written: ${(cause as Error).message}`, { cause })
  }
}

function pathOf(url: URL): string {
  try {
    return fileURLToPath(url)
  } catch (cause) {
    throw new SegSamError('INVALID_ARGUMENT', `path is ${url.href}; expected a file URL: ${(cause as Error).message}`, {
      cause,
    })
  }
}

/** @throws SegSamError `READ_FAILED`, `INVALID_ARGUMENT` */
export async function contentOf(source: string | URL | Uint8Array): Promise<{ bytes: Uint8Array; name: string }> {
  if (source instanceof Uint8Array) return { bytes: source, name: 'The saved scene' }
  if (typeof source !== 'string' && !(source instanceof URL)) {
    throw unexpected('INVALID_ARGUMENT', 'the saved scene', source, 'a path, a file URL or a Uint8Array')
  }
  try {
    return { bytes: await readFile(source), name: String(source) }
  } catch (cause) {
    throw new SegSamError('READ_FAILED', `The saved scene cannot be read: ${(cause as Error).message}`, { cause })
  }
}

function headerOf(text: string, name: string): z.output<typeof headerSchema> {
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (cause) {
    throw invalid(name, `has a header that is not JSON: ${(cause as Error).message}`)
  }
  const parsed = headerSchema.safeParse(content)
  if (!parsed.success) throw invalid(name, `has a header of another form: ${z.prettifyError(parsed.error)}`)
  return parsed.data
}

function checksum(...parts: Uint8Array[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

function invalid(name: string, what: string): SegSamError {
  return new SegSamError('SCENE_INVALID', `${name} ${what}. Encode the image again and save that scene.`)
}

function mismatch(name: string, what: string): SegSamError {
  return new SegSamError(
    'SCENE_MISMATCH',
    `${name} ${what}. Load the model it was made with, or encode the image again.`,
  )
}

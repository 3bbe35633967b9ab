import { readFile } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { SegSamError } from '../errors.js'
import { damaged, maxUnpackedBytes } from './limits.js'

export type FileStream = ReadableStream<Uint8Array> | Readable

/** Where the bytes of one file come from. */
export type FileInput = string | URL | Uint8Array | FileStream

export function isStream(input: unknown): input is FileStream {
  return typeof input === 'object' && input !== null && Symbol.asyncIterator in input && !ArrayBuffer.isView(input)
}

/**
 * The whole file, gunzipped where it is a gzip.
 *
 * @throws SegSamError `READ_FAILED`, `INVALID_IMAGE`
 */
export async function contentOf(input: FileInput, name: string, maxVoxels: number): Promise<Uint8Array> {
  const content = await packedContentOf(input, maxUnpackedBytes(maxVoxels), name)
  return content[0] === 0x1f && content[1] === 0x8b ? unpacked(content, name, maxVoxels) : content
}

async function unpacked(content: Uint8Array, name: string, maxVoxels: number): Promise<Uint8Array> {
  const maxOutputLength = maxUnpackedBytes(maxVoxels)
  try {
    return await promisify(gunzip)(content, { maxOutputLength })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new SegSamError(
        'INVALID_IMAGE',
        `${name} unfolds to more than ${maxOutputLength} bytes. Raise maxVoxels (of readImage: maxPixels) if you trust the file and have the memory.`,
      )
    }
    throw damaged(name, (cause as Error).message)
  }
}

async function packedContentOf(input: FileInput, maxBytes: number, name: string): Promise<Uint8Array> {
  if (input instanceof Uint8Array) return input
  try {
    if (!isStream(input)) return await readFile(input)
    const chunks: Uint8Array[] = []
    let bytes = 0
    for await (const chunk of input as AsyncIterable<Uint8Array>) {
      bytes += chunk.length
      if (bytes > maxBytes) throw new SegSamError('INVALID_IMAGE', `${name} gives more than ${maxBytes} bytes.`)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  } catch (cause) {
    if (cause instanceof SegSamError) throw cause
    throw new SegSamError('READ_FAILED', `${name} cannot be read: ${(cause as Error).message}`, { cause })
  }
}

/** What a file is called in messages. */
export function nameOf(input: FileInput): string {
  if (input instanceof Uint8Array) return 'The buffer'
  return isStream(input) ? 'The stream' : String(input)
}

import { appendFile, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inspect, isDeepStrictEqual } from 'node:util'
import { SegSamError } from '../errors.js'
import type { MaskScores } from './metrics.js'
import type { PromptKind } from './prompts.js'

/** What decides the records; two runs may share a file only where it is the same. */
export interface RecordHeader {
  schema: 1
  /** `hash`: SHA-256 over the hashes of the bundle's files. */
  bundle: { name: string; version: string; hash: string; device: string; precision: string }
  sets: { name: string; hash: string }[]
  prompts: PromptKind[]
  split: string
  seed: number
  /** Objects an image; `null`: all. */
  limit: number | null
  tolerance: number
  multimask: boolean
}

/** Everything measured on one image. */
export interface ImageRecord {
  set: string
  image: string
  subject: string
  modality: string
  /** Of `hd95` and the tolerance. */
  unit: 'mm' | 'px'
  /** It is known which classes the image does not have, so that false names can be counted. */
  absenceKnown: boolean
  objects: ObjectRecord[]
  /** Labels that could not be used, and why. */
  leftOut: string[]
}

export interface ObjectRecord {
  /** Its number in the image. */
  number: number
  class: string
  /** In pixels. */
  area: number
  /** Of the ellipse in the object's box with the object. */
  ellipseDice: number
  prompts: Partial<Record<PromptKind, PromptRecord>>
}

export interface PromptRecord {
  binary: MaskScores
  /** `null`, as `agreement`, where the semantic part of the bundle is untrained. */
  semantic: MaskScores | null
  predictedIou: number
  /** IoU of the two decoders' masks. */
  agreement: number | null
  /** `null` where the semantic part of the bundle is untrained or the object's class has no card. */
  naming: Naming | null
}

export interface Naming {
  /** Of the object's class among the classes ranked by probability, from 0. */
  rank: number
  /** Of the class ranked first. */
  probability: number
  /** The classes of unprompted objects that were named and are in the image, that are not, and that were overlooked. */
  others: { found: string[]; wrong: string[]; missed: string[] }
}

const FILE = 'records.jsonl'

/** `records.jsonl`: a header, then one line an image, so that an evaluation that was stopped can go on. */
export class RecordFile {
  readonly records: ImageRecord[]
  readonly #path: string
  readonly #measured: Set<string>

  private constructor(path: string, records: ImageRecord[]) {
    this.#path = path
    this.records = records
    this.#measured = new Set(records.map(({ set, image }) => keyOf(set, image)))
  }

  /**
   * Begins the file of a folder, or goes on with the one that is there. A last line that was cut off is dropped.
   *
   * @throws SegSamError `INVALID_ARGUMENT` where the records are those of another run
   */
  static async open(folder: string, header: RecordHeader): Promise<RecordFile> {
    const path = join(folder, FILE)
    const text = await contentOf(path)
    const whole = text.slice(0, text.lastIndexOf('\n') + 1)
    if (whole === '') {
      await writeFile(path, line(header))
      return new RecordFile(path, [])
    }
    const [first, ...records] = parsed(whole, path)
    checkSame(first, header, path)
    if (whole !== text) await truncate(path, Buffer.byteLength(whole))
    return new RecordFile(path, records as ImageRecord[])
  }

  has(set: string, image: string): boolean {
    return this.#measured.has(keyOf(set, image))
  }

  async append(record: ImageRecord): Promise<void> {
    await appendFile(this.#path, line(record))
    this.records.push(record)
    this.#measured.add(keyOf(record.set, record.image))
  }
}

function keyOf(set: string, image: string): string {
  return JSON.stringify([set, image])
}

async function contentOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}

function parsed(text: string, path: string): unknown[] {
  return text
    .trimEnd()
    .split('\n')
    .map((content, i) => {
      try {
        return JSON.parse(content)
      } catch (cause) {
        throw new SegSamError(
          'INVALID_ARGUMENT',
          `Line ${i + 1} of ${path} is not JSON. Remove the file to measure everything again, or pass another --report folder.`,
          { cause },
        )
      }
    })
}

function checkSame(there: unknown, here: RecordHeader, path: string) {
  if (isDeepStrictEqual(there, here)) return
  const before = (typeof there === 'object' && there !== null ? there : {}) as Record<string, unknown>
  const differing = Object.entries(here).filter(([key, value]) => !isDeepStrictEqual(before[key], value))
  const differences = differing.map(([key, value]) => `${key} ${short(before[key])} there, ${short(value)} now`)
  throw new SegSamError(
    'INVALID_ARGUMENT',
    `${path} holds the records of another run: ${differences.join('; ') || 'of another form'}. ` +
      'Run with what it was begun with, pass another --report folder, or remove the file to start afresh.',
  )
}

function short(value: unknown): string {
  return inspect(value, { breakLength: Number.POSITIVE_INFINITY, depth: 3 })
}

function line(content: RecordHeader | ImageRecord): string {
  return `${JSON.stringify(content)}\n`
}

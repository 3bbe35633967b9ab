import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { throwIfAborted } from './abort.js'
import { type ClassCard, classFileSchema } from './classes.js'
import { SegSamError, unexpected } from './errors.js'
import { checkOptions } from './options.js'

/** File names only: a manifest must not reach outside its bundle. */
const fileName = z.string().regex(/^[\w-][\w.-]*$/, 'a plain file name')
const rgb = z.tuple([z.number(), z.number(), z.number()])
const side = z.int().positive().max(8192)

const manifestSchema = z.object({
  schema: z.literal(1),
  name: z.string().min(1),
  version: z.string().min(1),
  architecture: z.string().min(1),
  image_size: side,
  mask_size: side,
  resize_mode: z.enum(['longest', 'stretch']),
  default_window: z.enum(['auto', 'min_max']).default('auto'),
  pixel_mean: rgb,
  pixel_std: rgb.refine((std) => std.every((value) => value > 0), 'above 0'),
  dtype: z.enum(['float32', 'float16', 'bfloat16']),
  text_width: z.int().positive(),
  text_length: z.int().positive(),
  semantic: z.enum(['trained', 'untrained']),
  licence: z.string().min(1),
  files: z.record(fileName, z.object({ bytes: z.int().nonnegative(), sha256: z.string().regex(/^[0-9a-f]{64}$/) })),
})

/** What `manifest.json` says; described in `docs/bundle.md`. */
export type Manifest = z.infer<typeof manifestSchema>

/** A file of a bundle, compared with the manifest. */
export interface BundleFile {
  name: string
  /** On disk; `null` where it is missing. */
  bytes: number | null
  sha256: string | null
  /** `edited`: differs, and may (`classes.json`). `unlisted`: the manifest names no hash for it. */
  state: 'verified' | 'edited' | 'unlisted' | 'differs' | 'missing'
}

export interface BundleReport {
  directory: string
  manifest: Manifest
  classes: readonly ClassCard[]
  files: readonly BundleFile[]
  /** Every file that has to be is there and unchanged. */
  intact: boolean
}

const CLASS_FILE = 'classes.json'
const REQUIRED = ['encoder.pt', 'decoder.pt', 'text_encoder.pt', 'tokenizer.json']

/**
 * Reads what a bundle is and hashes its files, without loading the model.
 *
 * @throws SegSamError `BUNDLE_NOT_FOUND`, `BUNDLE_INVALID`; a file that differs is reported, not thrown
 */
export async function inspectBundle(directory: string, options: { signal?: AbortSignal } = {}): Promise<BundleReport> {
  checkOptions(options, ['signal'])
  throwIfAborted(options.signal)
  const manifest = await readManifest(directory)
  const classes = await readClasses(directory)
  const files: BundleFile[] = []
  for (const name of new Set([...Object.keys(manifest.files), CLASS_FILE])) {
    files.push(await compare(directory, name, manifest.files[name], options.signal))
  }
  return { directory, manifest, classes, files, intact: files.every(({ state }) => isHarmless(state)) }
}

/**
 * {@link inspectBundle}, for a bundle that is about to run.
 *
 * @throws SegSamError additionally `BUNDLE_TAMPERED`
 */
export async function verifiedBundle(directory: string, signal: AbortSignal | undefined): Promise<BundleReport> {
  const report = await inspectBundle(directory, signal ? { signal } : {})
  const wrong = report.files.find(({ state }) => !isHarmless(state))
  if (wrong) throw tampered(directory, wrong, report.manifest.files[wrong.name]!)
  return report
}

/** @throws SegSamError `BUNDLE_INVALID` */
export async function readTokenizer(directory: string): Promise<unknown> {
  return parseJson(await readFile(join(directory, 'tokenizer.json'), 'utf8'), 'tokenizer.json', directory)
}

function isHarmless(state: BundleFile['state']): boolean {
  return state === 'verified' || state === 'edited' || state === 'unlisted'
}

function tampered(directory: string, file: BundleFile, listed: { bytes: number; sha256: string }): SegSamError {
  let difference = `has SHA-256 ${file.sha256}; the manifest says ${listed.sha256}`
  if (file.state === 'missing') difference = 'is missing'
  else if (file.bytes !== listed.bytes) difference = `has ${file.bytes} bytes; the manifest says ${listed.bytes}`
  return new SegSamError(
    'BUNDLE_TAMPERED',
    `${file.name} of the bundle ${directory} ${difference}. It is not loaded: fetch or export the bundle again.`,
  )
}

async function readManifest(directory: string): Promise<Manifest> {
  if (typeof directory !== 'string') {
    throw unexpected('INVALID_ARGUMENT', 'the bundle', directory, 'the path of a folder, as a string')
  }
  let text: string
  try {
    text = await readFile(join(directory, 'manifest.json'), 'utf8')
  } catch (cause) {
    throw new SegSamError(
      'BUNDLE_NOT_FOUND',
      `No bundle at ${directory}: ${(cause as Error).message}. Pass the folder that holds manifest.json.`,
      { cause },
    )
  }
  const content = parseJson(text, 'manifest.json', directory)
  const schema = (content as { schema?: unknown } | null)?.schema
  if (Number.isInteger(schema) && schema !== 1) {
    throw new SegSamError(
      'BUNDLE_INVALID',
      `The bundle ${directory} has schema ${schema}; this version of seg-sam reads 1. Use the version it was made for.`,
    )
  }
  const manifest = checked(manifestSchema, content, 'manifest.json', directory)
  for (const name of REQUIRED) {
    if (!manifest.files[name]) {
      throw new SegSamError(
        'BUNDLE_INVALID',
        `manifest.json of ${directory} lists no ${name}. Export the bundle again.`,
      )
    }
  }
  return manifest
}

async function readClasses(directory: string): Promise<readonly ClassCard[]> {
  let text: string
  try {
    text = await readFile(join(directory, CLASS_FILE), 'utf8')
  } catch (cause) {
    throw new SegSamError('BUNDLE_INVALID', `${CLASS_FILE} cannot be read: ${(cause as Error).message}`, { cause })
  }
  return checked(classFileSchema, parseJson(text, CLASS_FILE, directory), CLASS_FILE, directory).classes
}

function parseJson(text: string, name: string, directory: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new SegSamError('BUNDLE_INVALID', `${name} of ${directory} is not JSON: ${(cause as Error).message}`, {
      cause,
    })
  }
}

function checked<T>(schema: z.ZodType<T>, content: unknown, name: string, directory: string): T {
  const parsed = schema.safeParse(content)
  if (parsed.success) return parsed.data
  throw new SegSamError(
    'BUNDLE_INVALID',
    `${name} of ${directory} is not as docs/bundle.md describes it:\n${z.prettifyError(parsed.error)}`,
  )
}

async function compare(
  directory: string,
  name: string,
  listed: { bytes: number; sha256: string } | undefined,
  signal: AbortSignal | undefined,
): Promise<BundleFile> {
  const path = join(directory, name)
  let bytes: number
  let sha256: string
  try {
    bytes = (await stat(path)).size
    sha256 = await hashOf(path, signal)
  } catch (cause) {
    if (signal?.aborted) throw signal.reason
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return { name, bytes: null, sha256: null, state: 'missing' }
    throw new SegSamError('READ_FAILED', `${name} of the bundle cannot be read: ${(cause as Error).message}`, { cause })
  }
  if (!listed) return { name, bytes, sha256, state: 'unlisted' }
  const same = bytes === listed.bytes && sha256 === listed.sha256
  return { name, bytes, sha256, state: same ? 'verified' : name === CLASS_FILE ? 'edited' : 'differs' }
}

async function hashOf(path: string, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { signal: signal!, highWaterMark: 1 << 20 })) hash.update(chunk)
  return hash.digest('hex')
}

/** SHA-256 of the manifest and of the files that were found: what a result was made with. */
export function bundleHash({ manifest, files }: BundleReport): string {
  const content = JSON.stringify([manifest, files.map(({ name, sha256 }) => [name, sha256])])
  return createHash('sha256').update(content).digest('hex')
}

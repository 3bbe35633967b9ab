import { SegSamError, unexpected } from '../errors.js'
import { maxUnpackedBytes } from '../files/limits.js'
import { WebRequest } from './web-request.js'

/** Instances that are fetched at a time. */
const PARALLEL = 4

/** A series, or one instance of it, on a DICOMweb server. */
export interface DicomWebAddress {
  /** Root of the service. */
  server: string
  study: string
  series: string
  /** `null`: all of the series. */
  instance: string | null
}

export interface DicomWebOptions {
  /** Of every request, for example `{ Authorization: 'Bearer ...' }`. */
  headers: Readonly<Record<string, string>>
  signal: AbortSignal | undefined
  maxVoxels: number
}

/** A file that was fetched. */
export interface FetchedFile {
  /** Its address. */
  name: string
  content: Uint8Array
}

/**
 * The parts of the address of a series or an instance as WADO-RS has them (PS3.18, 10.4):
 * `https://server/dicom-web/studies/{uid}/series/{uid}` and further `/instances/{uid}`. `null` for what is no web address.
 *
 * @throws SegSamError `INVALID_ARGUMENT` for another web address
 */
export function dicomWebAddress(input: unknown): DicomWebAddress | null {
  if (!(typeof input === 'string' || input instanceof URL) || !/^https?:/i.test(String(input))) return null
  const text = String(input)
  const parts = /^(https?:\/\/[^?#@]+)\/studies\/([\d.]+)\/series\/([\d.]+)(?:\/instances\/([\d.]+))?\/?$/i.exec(text)
  if (!parts) {
    throw unexpected(
      'INVALID_ARGUMENT',
      'the address',
      text.replace(/\/\/[^/@]*@/, '//').replace(/[?#].*$/, ''),
      'a DICOMweb series or instance: https://server/dicom-web/studies/UID/series/UID, with /instances/UID for one',
      'Names, passwords and tokens go into `headers`. Fetch other files yourself and give their content.',
    )
  }
  const [, server, study, series, instance = null] = parts as unknown as [string, string, string, string, string?]
  return { server, study, series, instance }
}

/**
 * The DICOM files of a series, in the order of the server's list, or one.
 *
 * @throws SegSamError `INVALID_ARGUMENT` (headers), `READ_FAILED` (no answer, a refusal, no DICOM), `INVALID_IMAGE` (more bytes than `maxVoxels` allows)
 * @throws `signal.reason` when aborted
 */
export async function fetchDicom(address: DicomWebAddress, options: DicomWebOptions): Promise<FetchedFile[]> {
  checkHeaders(options.headers)
  const client = await clientOf(address, options)
  const instances = address.instance === null ? await client.instances() : [address.instance]
  const files = new Array<FetchedFile>(instances.length)
  let next = 0
  const work = async () => {
    while (next < instances.length) {
      const place = next++
      try {
        files[place] = await client.file(instances[place]!)
      } catch (error) {
        next = instances.length
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(PARALLEL, instances.length) }, work))
  return files
}

/** The part of dicomweb-client that is used: its own types ask for a browser's. */
interface SeriesClient {
  retrieveSeriesMetadata(ids: SeriesIds & { request: { instance: WebRequest } }): Promise<unknown>
  retrieveInstance(
    ids: SeriesIds & { sopInstanceUID: string; request: { instance: WebRequest } },
  ): Promise<ArrayBuffer | undefined>
}

interface SeriesIds {
  studyInstanceUID: string
  seriesInstanceUID: string
}

async function clientOf({ server, study, series }: DicomWebAddress, { headers, signal, maxVoxels }: DicomWebOptions) {
  const { api } = await import('dicomweb-client')
  const client = new api.DICOMwebClient({
    url: server,
    headers,
    verbose: false,
    singlepart: false,
  }) as unknown as SeriesClient
  const ids = { studyInstanceUID: study, seriesInstanceUID: series }
  const place = `${server}/studies/${study}/series/${series}`
  let bytesLeft = maxUnpackedBytes(maxVoxels)

  async function answer<T>(what: string, ask: (request: { instance: WebRequest }) => Promise<T>): Promise<T> {
    const instance = new WebRequest({ signal, maxBytes: bytesLeft })
    try {
      return await Promise.race([ask({ instance }), instance.failed])
    } catch (cause) {
      if (signal?.aborted) throw signal.reason
      if (cause instanceof SegSamError) throw cause
      throw new SegSamError('READ_FAILED', `${what} cannot be fetched: ${reasonOf(cause)}`)
    }
  }

  return {
    /** SOP Instance UIDs of the series. */
    async instances(): Promise<string[]> {
      const metadata = await answer(place, (request) => client.retrieveSeriesMetadata({ ...ids, request }))
      const found = Array.isArray(metadata)
        ? (metadata as DicomJson[]).map((each) => each?.['00080018']?.Value?.[0])
        : []
      if (found.length > 0 && found.every((uid) => typeof uid === 'string')) return found
      throw new SegSamError('READ_FAILED', `${place} has no instance, or the server does not list them.`)
    },
    async file(sopInstanceUID: string): Promise<FetchedFile> {
      const name = `${place}/instances/${sopInstanceUID}`
      const content = await answer(name, (request) => client.retrieveInstance({ ...ids, sopInstanceUID, request }))
      if (!content) throw new SegSamError('READ_FAILED', `${name} cannot be fetched: the server sent nothing.`)
      bytesLeft -= content.byteLength
      return { name, content: new Uint8Array(content) }
    },
  }
}

type DicomJson = Record<string, { Value?: string[] } | undefined>

function checkHeaders(headers: unknown): void {
  try {
    new Headers(headers as Record<string, string>)
  } catch {
    // What is wrong with them is not quoted: they hold secrets.
    throw new SegSamError('INVALID_ARGUMENT', 'The headers cannot be sent. Allowed: { name: value } of HTTP headers.')
  }
}

function reasonOf(cause: unknown): string {
  const { status, message, cause: inner } = cause as Error & { status?: number; cause?: Error }
  if (status === 401 || status === 403) return `the server refused (HTTP ${status}). Give \`headers\` that authorise.`
  if (status !== undefined) return `the server answered HTTP ${status}.`
  return `${inner?.message || message}.`
}

import { SegSamError } from '../errors.js'

export interface WebRequestOptions {
  signal: AbortSignal | undefined
  /** The most that a response may hold. */
  maxBytes: number
}

/** The part of `XMLHttpRequest` that dicomweb-client uses, which Node.js lacks, by `fetch`. */
export class WebRequest {
  readyState = 0
  status = 0
  responseType = ''
  response: ArrayBuffer | unknown
  onreadystatechange: (() => void) | null = null
  /** Rejects where no answer comes, or the client cannot read it; never resolves. */
  readonly failed: Promise<never>
  readonly #fail: (error: unknown) => void
  readonly #options: WebRequestOptions
  readonly #headers = new Headers()
  #url = ''
  #method = ''
  #responseHeaders = new Headers()

  constructor(options: WebRequestOptions) {
    this.#options = options
    const { promise, reject } = withRejection()
    this.failed = promise
    this.#fail = reject
  }

  open(method: string, url: string): void {
    this.#method = method
    this.#url = url
  }

  setRequestHeader(name: string, value: string): void {
    this.#headers.set(name, value)
  }

  getResponseHeader(name: string): string | null {
    return this.#responseHeaders.get(name)
  }

  getAllResponseHeaders(): string {
    return [...this.#responseHeaders].map(([name, value]) => `${name}: ${value}`).join('\r\n')
  }

  send(): void {
    this.#sent().catch(this.#fail)
  }

  async #sent(): Promise<void> {
    const { signal } = this.#options
    const answer = await fetch(this.#url, { method: this.#method, headers: this.#headers, ...(signal && { signal }) })
    const bytes = await this.#bytesOf(answer)
    this.status = answer.status
    this.#responseHeaders = answer.headers
    this.response = this.responseType === 'arraybuffer' ? bytes : this.#textOrJson(bytes)
    this.readyState = 4
    this.onreadystatechange?.()
  }

  #textOrJson(bytes: ArrayBuffer): unknown {
    const text = Buffer.from(bytes).toString('utf8')
    return this.responseType === 'json' && this.status === 200 ? JSON.parse(text) : text
  }

  async #bytesOf({ body }: Response): Promise<ArrayBuffer> {
    const { maxBytes } = this.#options
    const chunks: Uint8Array<ArrayBuffer>[] = []
    let length = 0
    for await (const chunk of body ?? []) {
      length += chunk.length
      if (length > maxBytes) {
        throw new SegSamError(
          'INVALID_IMAGE',
          `${this.#url} sends more than ${maxBytes} bytes. Raise maxVoxels if you trust the server and have the memory.`,
        )
      }
      chunks.push(chunk)
    }
    return new Blob(chunks).arrayBuffer()
  }
}

function withRejection(): { promise: Promise<never>; reject: (error: unknown) => void } {
  let reject: (error: unknown) => void = () => {}
  const promise = new Promise<never>((_, refuse) => {
    reject = refuse
  })
  promise.catch(() => {})
  return { promise, reject }
}

import { type ChildProcess, spawn } from 'node:child_process'
import { performance } from 'node:perf_hooks'
import { createInterface, type Interface } from 'node:readline'
import type { PeerKind } from './peer-kinds.js'
import type { Size } from './size.js'

export type Answer = Record<string, unknown>

/** A peer in a process of its own, which answers one request after another. */
export class Child {
  readonly kind: PeerKind
  readonly #process: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #reader: Interface
  #errors = ''
  readonly #started = performance.now()
  /** Milliseconds from the start of the process until the answer to the first request that was awaited. */
  wallMs = 0

  constructor(kind: PeerKind) {
    this.kind = kind
    const { command, args, env } = kind
    this.#process = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
    this.#process.stderr!.on('data', (text: Buffer) => this.#noteErrors(text))
    this.#reader = createInterface({ input: this.#process.stdout! })
    this.#lines = this.#reader[Symbol.asyncIterator]()
    this.#process.on('error', () => this.#reader.close())
    this.#process.stdin!.on('error', () => {})
  }

  #noteErrors(text: Buffer) {
    this.#errors = `${this.#errors}${text}`.slice(-2000)
  }

  /** @throws Error with what the peer said, where it could not do it or has ended */
  async ask(op: string, fields: object = {}): Promise<Answer> {
    this.#process.stdin!.write(`${JSON.stringify({ op, ...fields })}\n`)
    const { value, done } = await this.#lines.next()
    if (done) throw new Error(`${this.kind.name} has ended: ${this.#errors.trim().split('\n').at(-1) ?? ''}`)
    this.wallMs = performance.now() - this.#started
    const answer = JSON.parse(value) as Answer
    if (answer.ok !== true) throw new Error(`${this.kind.name}: ${answer.error}`)
    return answer
  }

  async milliseconds(op: string, fields: object = {}): Promise<number> {
    const { ms } = await this.ask(op, fields)
    if (typeof ms !== 'number') throw new Error(`${this.kind.name} gave no time for ${op}`)
    return ms
  }

  async load(size: Size): Promise<Answer> {
    return this.ask('load', { size })
  }

  /** Resolves once the process has gone, so that its memory is free. */
  async end(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const gone = new Promise((resolve) => this.#process.once('exit', resolve))
    this.#process.stdin!.end()
    await gone
  }
}

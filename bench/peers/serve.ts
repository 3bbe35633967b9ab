import { readFileSync, writeFileSync } from 'node:fs'
import { createHistogram, monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import type { Size } from '../size.js'

/** One runtime in a process of its own. Sizes are those of {@link Size}. */
export interface Peer {
  /** Loads the library. */
  require(): Promise<void>
  /** Loads the weights. Resolves to what is worth noting: versions, precision. */
  load(size: Size): Promise<Record<string, string>>
  /** Encodes the test image. */
  encode(): Promise<void>
  /** Decodes clicks against the image encoded last; logits, and what the runtime gives with them. */
  decode(prompts: number): Promise<void>
  /** The same into memory of an earlier call that has ended, for a runtime that can: what a server does. */
  decodeInPlace?(prompts: number): Promise<void>
  /** Decodes one click into a binary mask of the original image, which has `originalSide`. */
  click(): Promise<void>
  /** Encodes the original image. */
  encodeOriginal(): Promise<void>
  /** Encodes an image and decodes one click, apart from all that was encoded before: what one caller asks for. */
  request(index: number): Promise<void>
  /** Logits (P, 3, h, h) and IoU (P, 3) of the first `checkedPrompts` clicks. */
  outputs(): Promise<Float32Array>
}

interface Message {
  op: string
  size: Size
  prompts: number
  call: 'encode' | 'decode'
  callers: number
  requests: number
  out: string
}

/** Answers requests, one JSON a line, with the milliseconds that each took. */
export async function serve(peer: Peer): Promise<void> {
  const started = performance.now()
  await peer.require()
  const requireMs = performance.now() - started
  for await (const line of createInterface({ input: process.stdin })) {
    const message = JSON.parse(line) as Message
    let answer: object
    try {
      answer = { ok: true, ...(await answerTo(peer, message, requireMs)) }
    } catch (error) {
      answer = { ok: false, error: error instanceof Error ? error.message : String(error) }
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`)
  }
}

async function answerTo(peer: Peer, message: Message, requireMs: number): Promise<object> {
  const { op } = message
  switch (op) {
    case 'load': {
      let notes: Record<string, string> = {}
      const ms = await timed(async () => {
        notes = await peer.load(message.size)
      })
      return { ms, requireMs, notes }
    }
    case 'encode':
      return { ms: await timed(() => peer.encode()) }
    case 'decode':
      return { ms: await timed(() => peer.decode(message.prompts)) }
    case 'click':
      return { ms: await timed(() => peer.click()) }
    case 'encodeAndClick':
      return {
        ms: await timed(async () => {
          await peer.encodeOriginal()
          await peer.click()
        }),
      }
    case 'encodeOriginal':
      return { ms: await timed(() => peer.encodeOriginal()) }
    case 'atOnce':
      return { ms: (await timed(() => atOnce(peer, message))) / message.requests }
    case 'callers':
      return callers(peer, message.callers, message.requests)
    case 'decodes': {
      for (let i = 0; i < message.requests; i++) await peer.decode(1)
      return memory()
    }
    case 'memory':
      return memory()
    case 'forgetPeak':
      writeFileSync('/proc/self/clear_refs', '5')
      return memory()
    case 'outputs': {
      const values = await peer.outputs()
      writeFileSync(message.out, new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
      return {}
    }
    default:
      throw new Error(`no operation ${op}`)
  }
}

async function timed(call: () => Promise<void>): Promise<number> {
  const started = performance.now()
  await call()
  return performance.now() - started
}

/** `requests` calls, `callers` of them in flight. */
async function atOnce(peer: Peer, { call, prompts, callers, requests }: Message): Promise<void> {
  let left = requests
  const decode = () => peer.decodeInPlace?.(prompts) ?? peer.decode(prompts)
  const one = async () => {
    while (left-- > 0) await (call === 'encode' ? peer.encode() : decode())
  }
  await Promise.all(Array.from({ length: callers }, one))
}

/** Each caller asks again as soon as it is answered, until `requests` have been asked for in all. */
async function callers(peer: Peer, count: number, requests: number): Promise<object> {
  const resolution = 1
  const delays = monitorEventLoopDelay({ resolution })
  const waits = createHistogram()
  const served = new Array<number>(count).fill(0)
  let asked = 0
  const caller = async (index: number) => {
    while (asked < requests) {
      const request = asked++
      const started = performance.now()
      await peer.request(request)
      waits.record(Math.max(1, Math.round(performance.now() - started)))
      served[index]!++
    }
  }
  // Makes the images.
  await peer.request(0)
  delays.enable()
  const ms = await timed(async () => {
    await Promise.all(served.map((_, index) => caller(index)))
  })
  delays.disable()
  return {
    ms,
    served,
    longestWaitMs: waits.max,
    medianWaitMs: waits.percentile(50),
    // The monitor's own timer is due every `resolution` ms, which is in what it records.
    eventLoopMs: Math.max(0, delays.percentile(99.9) / 1e6 - resolution),
  }
}

function memory(): object {
  const status = readFileSync('/proc/self/status', 'utf8')
  const bytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? Number.NaN) * 1024
  return { rss: bytes('VmRSS'), peak: bytes('VmHWM') }
}

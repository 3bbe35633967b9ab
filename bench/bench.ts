import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { agreementOf, agrees, EXACT, REDUCED } from './agreement.js'
import { Child } from './child.js'
import { interleaved, type Repetitions } from './interleaved.js'
import type { Options } from './options.js'
import { type PeerKind, SEG_SAM } from './peer-kinds.js'
import { floats } from './peers/inputs.js'
import type { Checked, Results, Row } from './results.js'
import { flopsOf, type Size } from './size.js'

/** What is sent with an operation. */
interface Fields {
  prompts?: number
  [name: string]: string | number | undefined
}

/** A run: the options, who takes part, and what was found so far. */
export class Bench {
  readonly options: Options
  readonly kinds: readonly PeerKind[]
  readonly results: Results

  constructor(options: Options, kinds: readonly PeerKind[], results: Results) {
    this.options = options
    this.kinds = kinds
    this.results = results
  }

  get repetitions(): Repetitions {
    const { quick, budget, least } = this.options
    if (quick) return { warmUps: 1, least, most: least, budgetMs: 0 }
    return { warmUps: 2, least, most: 200, budgetMs: budget * 1000 }
  }

  wants(scenario: Options['only'][number]): boolean {
    return this.options.only.includes(scenario)
  }

  add(row: Row): void {
    this.results.rows.push(row)
  }

  note(text: string): void {
    console.log(`! ${text}`)
    this.results.notes.push(text)
  }

  kind(name: string): PeerKind | undefined {
    return this.kinds.find((kind) => kind.name === name)
  }

  /** Why this one is not to be timed with this size, if so. */
  failureOf(kind: PeerKind, size: Size): string | null {
    return this.results.checked.find(({ peer, size: of }) => peer === kind.name && of === size.name)?.failure ?? null
  }

  /** Starts those that support a size, and loads the weights; who cannot is noted and left out. */
  async start(size: Size, kinds = this.kinds): Promise<Child[]> {
    const started: Child[] = []
    for (const kind of kinds.filter((one) => one.supports(size) && this.failureOf(one, size) === null)) {
      const child = new Child(kind)
      try {
        const { notes } = await child.load(size)
        this.results.loaded[kind.name] = notes as Record<string, string>
        started.push(child)
      } catch (error) {
        await child.end()
        this.#failed(size, kind, error)
      }
    }
    return started
  }

  /** Compares the outputs of each with PyTorch's, and ends those that do not agree. */
  async check(size: Size, children: readonly Child[]): Promise<Child[]> {
    const folder = mkdtempSync(join(tmpdir(), 'seg-sam-bench-'))
    const agreeing: Child[] = []
    for (const child of children) {
      if (size.checkedPrompts === 0) {
        this.results.checked.push({ size: size.name, peer: child.kind.name, agreement: null, failure: null })
        agreeing.push(child)
        continue
      }
      try {
        const checked = await this.#compared(size, child, join(folder, 'outputs.f32'))
        this.results.checked.push(checked)
        console.log(agreementLine(checked))
        if (checked.failure === null) agreeing.push(child)
        else await child.end()
      } catch (error) {
        this.#failed(size, child.kind, error)
        await child.end()
      }
    }
    rmSync(folder, { recursive: true })
    return agreeing
  }

  async #compared(size: Size, child: Child, out: string): Promise<Checked> {
    await child.ask('outputs', { out })
    const bytes = readFileSync(out)
    const actual = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
    const expected = floats(size.folder, 'expected.f32')
    const agreement = agreementOf(actual, expected, 3 * size.checkedPrompts, size.maskSize ** 2)
    const failure = agrees(agreement, child.kind.reduced ? REDUCED : EXACT) ? null : 'outputs do not agree'
    return { size: size.name, peer: child.kind.name, agreement, failure }
  }

  #failed(size: Size, { name }: PeerKind, error: unknown) {
    const failure = error instanceof Error ? error.message : String(error)
    this.results.checked.push({ size: size.name, peer: name, agreement: null, failure })
    console.log(`${size.name}: ${name} failed: ${failure}`)
  }

  /** Times one operation with all children, in turn. */
  async time(scenario: string, size: Size, children: readonly Child[], op: string, fields: Fields = {}) {
    const calls = new Map(children.map((child) => [child.kind.name, () => child.milliseconds(op, fields)]))
    const { times, failures } = await interleaved(calls, this.repetitions)
    for (const [name, failure] of failures) this.note(`${size.name}, ${scenario}: ${name} failed: ${failure}`)
    for (const [peer, values] of times) {
      // The rate of products in 8 bits is not measured.
      const flops = peer.endsWith('int8') ? undefined : neededFlops(size, op, fields.prompts)
      const own = peer === 'engine' ? SEG_SAM : peer
      const bf16 = peer.endsWith('bf16') || this.results.loaded[own]?.precision === 'bf16'
      this.add({ scenario, size: size.name, peer, unit: 'ms', values, ...(flops !== undefined && { flops }), bf16 })
    }
  }
}

function agreementLine({ size, peer, agreement, failure }: Checked): string {
  const { dice, relativeError, iouError } = agreement!
  const verdict = failure === null ? 'agrees' : 'FAILS, not timed'
  return `${size}: ${peer.padEnd(18)} Dice ${dice.toFixed(4)}, largest error ${relativeError.toExponential(1)} of the logits, ${iouError.toExponential(1)} of the IoU: ${verdict}`
}

/** What the same result needs in any runtime: both decoders where the bundle's semantic part is trained. */
function neededFlops({ flops }: Size, op: string, prompts = 1): number | undefined {
  if (!flops) return undefined
  const decoder = flops.sam ?? flops.both
  if (op === 'encode') return flops.encode
  if (op === 'decode' || op === 'click') return flopsOf(decoder, prompts)
  if (op === 'encodeAndClick') return flops.encode + flopsOf(decoder, 1)
  return undefined
}

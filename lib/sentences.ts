import { Tokenizer } from '@huggingface/tokenizers'
import type { Model } from '../binding.js'
import { SegSamError } from './errors.js'

/** Rows of one pass through the text encoder: bounds its memory where the encoder is large. */
const ROWS = 64

/** The bundle's tokenizer followed by its text encoder. */
export class SentenceEncoder {
  /** Values in the embedding of one sentence. */
  readonly width: number
  readonly #model: Model
  readonly #tokenizer: SentenceTokenizer

  constructor(model: Model, tokenizer: SentenceTokenizer, width: number) {
    this.#model = model
    this.#tokenizer = tokenizer
    this.width = width
  }

  /** Row-major (sentences, width). Sentences of like length go together, so that little is spent on padding. */
  async embed(sentences: readonly string[]): Promise<Float32Array> {
    const tokens = sentences.map((sentence) => this.#tokenizer.tokens(sentence))
    const byLength = [...tokens.keys()].sort((a, b) => tokens[a]!.length - tokens[b]!.length)
    const embedded = new Float32Array(sentences.length * this.width)
    for (let start = 0; start < byLength.length; start += ROWS) {
      const members = byLength.slice(start, start + ROWS)
      const { ids, attention, rows, length } = this.#tokenizer.batch(members.map((index) => tokens[index]!))
      const vectors = await this.#model.embedText(ids, attention, rows, length)
      for (const [row, index] of members.entries()) {
        embedded.set(vectors.subarray(row * this.width, (row + 1) * this.width), index * this.width)
      }
    }
    return embedded
  }
}

interface TokenBatch {
  /** Row-major (rows, length). */
  ids: BigInt64Array
  /** 1 where `ids` holds a token, 0 where it is padding. */
  attention: BigInt64Array
  rows: number
  length: number
}

/** A `tokenizer.json`, and the longest sentence that the text encoder was exported for. */
export class SentenceTokenizer {
  readonly #tokenizer: Tokenizer
  readonly #maxLength: number
  readonly #padding: bigint

  /**
   * @param definition the parsed content of `tokenizer.json`
   * @param maxLength most tokens of a sentence
   * @throws SegSamError `BUNDLE_INVALID`
   */
  constructor(definition: unknown, maxLength: number) {
    try {
      this.#tokenizer = new Tokenizer(definition as object, {})
      this.#tokenizer.encode('a')
    } catch (cause) {
      throw new SegSamError('BUNDLE_INVALID', `tokenizer.json cannot be used: ${(cause as Error).message}`, { cause })
    }
    this.#maxLength = maxLength
    this.#padding = BigInt((definition as { padding?: { pad_id?: number } | null }).padding?.pad_id ?? 0)
  }

  /** Truncation takes words from the end and keeps the special tokens around them. */
  tokens(sentence: string): number[] {
    const ids: number[] = this.#tokenizer.encode(sentence).ids
    if (ids.length <= this.#maxLength) return ids
    const words: number[] = this.#tokenizer.encode(sentence, { add_special_tokens: false }).ids
    const before = ids.findIndex((_, start) => words.every((id, i) => ids[start + i] === id))
    const after = ids.length - before - words.length
    return [
      ...ids.slice(0, before),
      ...words.slice(0, this.#maxLength - before - after),
      ...ids.slice(before + words.length),
    ]
  }

  /** Padded at the end, to the longest of them. */
  batch(sentences: readonly number[][]): TokenBatch {
    const rows = sentences.length
    const length = Math.max(1, ...sentences.map((tokens) => tokens.length))
    const ids = new BigInt64Array(rows * length).fill(this.#padding)
    const attention = new BigInt64Array(rows * length)
    for (const [row, tokens] of sentences.entries()) {
      ids.set(tokens.map(BigInt), row * length)
      attention.fill(1n, row * length, row * length + tokens.length)
    }
    return { ids, attention, rows, length }
  }
}

import { z } from 'zod'
import type { ClassSet, Model } from '../binding.js'
import { abortable } from './abort.js'
import { SegSamError, unexpected } from './errors.js'
import { didYouMean, nearest } from './nearest.js'
import type { SentenceEncoder } from './sentences.js'

/** A code for the class in a terminology, for example `{ scheme: 'SCT', value: '10200004', meaning: 'Liver' }`. */
export interface ClassCode {
  scheme: string
  value: string
  meaning?: string | undefined
}

/** What the model is told about a class; one entry of the bundle's `classes.json`. */
export interface ClassCard {
  /** For example `kidney_left`. */
  id: string
  /** For people, for example `Left kidney`. */
  name: string
  synonyms?: readonly string[] | undefined
  /**
   * What the class is, in terminologies; beside it, where they apply, the side (SCT 7771000, Left, or 24028007, Right) and
   * a category such as SCT 49755003, Morphologically Abnormal Structure. They go into DICOM files; the model does not see
   * them.
   */
  codes?: readonly ClassCode[] | undefined
  /** Hints for readers; the model does not see them. */
  modalities?: readonly string[] | undefined
  /**
   * An image may hold many objects of the class, each of which counts: cell nuclei, for example. A label map tells them
   * apart. Default `false`: all pixels of the class are one region.
   */
  countable?: boolean | undefined
  /** One statement each on shape, position, neighbours, appearance, typical confusions. */
  sentences: readonly string[]
}

/**
 * A class of your own. Say what it looks like in `sentences`, or in a `description` that is split into sentences.
 * How well the model recognises a class it was not trained on is unproven: measure it.
 */
export type NewClassCard =
  | (ClassCard & { description?: undefined })
  | (Omit<ClassCard, 'sentences'> & { sentences?: undefined; description: string })

const text = z.string().trim().min(1)
const texts = z.array(text).readonly()

/** `unknown` and `*` have a meaning of their own in label maps. */
const RESERVED = ['unknown', '*']

const TEXT = 'a text that is not empty'
const TEXTS = 'a list of texts that are not empty'

/** What a field allows is told by its `describe`. */
const cardShape = {
  id: text
    .refine((id) => !RESERVED.includes(id), 'not unknown or *, which label maps use')
    .describe(`${TEXT}, but not unknown or *, which label maps use`),
  name: text.describe(TEXT),
  synonyms: texts.optional().describe(TEXTS),
  codes: z
    .array(z.object({ scheme: text, value: text, meaning: z.string().optional() }).readonly())
    .readonly()
    .optional()
    .describe('a list of { scheme, value, meaning? }, each a text'),
  modalities: texts.optional().describe(TEXTS),
  countable: z.boolean().optional().describe('true or false'),
}

/** Frozen: a card is known by its identity, and its sentences are embedded once. */
const cardSchema = z.object({ ...cardShape, sentences: texts }).readonly()

export const newCardSchema = z.union([
  z.object({ ...cardShape, sentences: texts, description: z.undefined().optional() }),
  z.object({ ...cardShape, sentences: z.undefined().optional(), description: text }),
])

/** The content of `classes.json`. */
export const classFileSchema = z.object({
  schema: z.literal(1),
  classes: z
    .array(cardSchema)
    .min(1)
    .refine((cards) => new Set(cards.map(({ id }) => id)).size === cards.length, 'two classes have the same id')
    .readonly(),
})

/** The embedded sentences of some classes, and the class vectors on each device that asked for them. */
export class ClassVectors {
  readonly #sentences: Float32Array
  readonly #counts: Int32Array
  readonly #sets = new Map<Model, Promise<ClassSet>>()

  /**
   * @param sentences row-major (sum of counts, width)
   * @param counts sentences of each class
   */
  constructor(sentences: Float32Array, counts: Int32Array) {
    this.#sentences = sentences
    this.#counts = counts
  }

  /** Computed when first asked for, and again after a failure. */
  on(model: Model): Promise<ClassSet> {
    const known = this.#sets.get(model)
    if (known) return known
    const set = model.prepareClasses(this.#sentences, this.#counts)
    this.#sets.set(model, set)
    set.catch(() => this.#sets.delete(model))
    return set
  }
}

/** Class cards together with their vectors. */
export interface PreparedClasses {
  cards: readonly ClassCard[]
  /** `null`: no class is to be named, and only binary masks are decoded. */
  vectors: ClassVectors | null
}

const RECENT_SETS = 16

/** The class cards of a loaded model, and the recently used selections of them. */
export class ClassBook {
  #cards: readonly ClassCard[]
  readonly #names: boolean
  readonly #encoder: SentenceEncoder
  /** Row-major (sentences of the card, width). Filled when a card is first asked for: a call may need only a few. */
  readonly #embeddings = new WeakMap<ClassCard, Float32Array>()
  readonly #recent = new Map<string, Promise<PreparedClasses>>()
  #all: Promise<PreparedClasses> | undefined
  #preparing = 0

  /** @param names `false`: the cards are known, but nothing will be named by them, so that they are not embedded */
  constructor(encoder: SentenceEncoder, cards: readonly ClassCard[], names: boolean) {
    this.#names = names
    this.#encoder = encoder
    this.#cards = Object.freeze([...cards])
  }

  /** Those of the bundle, and what was defined and removed since. Another list after every change. */
  get cards(): readonly ClassCard[] {
    return this.#cards
  }

  /** Cards that are being embedded now. */
  get preparing(): number {
    return this.#preparing
  }

  /**
   * Embeds a card and adds it at the end, or puts it in the place of the one with its id.
   *
   * @throws SegSamError `INVALID_ARGUMENT`
   */
  async define(entry: NewClassCard, replace: boolean, signal: AbortSignal | undefined): Promise<ClassCard> {
    const card = checkedCard(entry, 'the class')
    this.#checkFree(card.id, replace)
    await abortable(() => this.#embed([card]), { signal })
    this.#checkFree(card.id, replace)
    const at = this.#cards.findIndex(({ id }) => id === card.id)
    this.#change(at < 0 ? [...this.#cards, card] : this.#cards.with(at, card))
    return card
  }

  /** @throws SegSamError `UNKNOWN_CLASS`, `INVALID_ARGUMENT` for the last class */
  remove(id: string): void {
    const card = this.#find(id)
    if (this.#cards.length === 1) {
      throw unexpected(
        'INVALID_ARGUMENT',
        'the class to remove',
        id,
        'none, for it is the last',
        'Define another first.',
      )
    }
    this.#change(this.#cards.filter((known) => known !== card))
  }

  /**
   * The classes that one call asks for: all of the model, or the given ids and cards and no others.
   *
   * @throws SegSamError `UNKNOWN_CLASS`, `INVALID_ARGUMENT`
   */
  async select(request: readonly (string | NewClassCard)[] | undefined): Promise<PreparedClasses> {
    if (request === undefined) {
      this.#all ??= this.#prepare(this.#cards).catch((error) => {
        this.#all = undefined
        throw error
      })
      return this.#all
    }
    const cards = this.#resolve(request)
    const key = JSON.stringify(cards)
    const prepared = this.#recent.get(key) ?? this.#prepare(cards)
    this.#recent.delete(key)
    this.#recent.set(key, prepared)
    prepared.catch(() => this.#recent.delete(key))
    if (this.#recent.size > RECENT_SETS) {
      const [oldest] = this.#recent.keys()
      this.#recent.delete(oldest!)
    }
    return prepared
  }

  /**
   * A request as data that stays as it is: ids, and checked cards where they are the caller's own.
   *
   * @throws SegSamError `UNKNOWN_CLASS`, `INVALID_ARGUMENT`
   */
  pinned(request: readonly (string | NewClassCard)[]): readonly (string | ClassCard)[] {
    return Object.freeze(this.#resolve(request).map((card) => (this.#own(card) ? card.id : card)))
  }

  #checkFree(id: string, replace: boolean): void {
    if (replace || !this.#cards.some((card) => card.id === id)) return
    throw unexpected(
      'INVALID_ARGUMENT',
      'the id of the class',
      id,
      'an id that model.classes does not have',
      'Pass { replace: true } to put this card in the place of that one.',
    )
  }

  #change(cards: readonly ClassCard[]): void {
    this.#cards = Object.freeze(cards)
    this.#all = undefined
  }

  #resolve(request: readonly (string | NewClassCard)[]): ClassCard[] {
    if (!Array.isArray(request) || request.length === 0) {
      throw unexpected(
        'INVALID_ARGUMENT',
        'classes',
        request,
        'a list of at least one class id or card',
        'Leave the option out to use all of model.classes.',
      )
    }
    const cards = request.map((entry, index) =>
      typeof entry === 'string' ? this.#find(entry) : (this.#own(entry) ?? checkedCard(entry, `classes[${index}]`)),
    )
    const twice = cards.find(({ id }, index) => cards.findIndex((other) => other.id === id) !== index)
    if (twice) throw unexpected('INVALID_ARGUMENT', 'classes', twice.id, 'each class id once', 'It is listed twice.')
    return cards
  }

  #own(card: NewClassCard): ClassCard | undefined {
    return this.#cards.find((known) => known === card)
  }

  #find(id: string): ClassCard {
    const card = this.#cards.find((candidate) => candidate.id === id)
    if (card) return card
    throw unexpected(
      'UNKNOWN_CLASS',
      'class',
      id,
      `the ${this.#cards.length} ids of model.classes`,
      `${suggestedClasses(id, this.#cards)} For a class of your own pass a card, { id, name, description }, or define it with model.defineClass.`,
    )
  }

  async #prepare(cards: readonly ClassCard[]): Promise<PreparedClasses> {
    if (!this.#names) return { cards, vectors: null }
    await this.#embed(cards.filter((card) => !this.#embeddings.has(card)))
    const embeddings = cards.map((card) => this.#embeddings.get(card)!)
    const counts = Int32Array.from(embeddings, ({ length }) => length / this.#encoder.width)
    const sentences = new Float32Array(embeddings.reduce((sum, { length }) => sum + length, 0))
    let at = 0
    for (const embedding of embeddings) {
      sentences.set(embedding, at)
      at += embedding.length
    }
    return { cards, vectors: new ClassVectors(sentences, counts) }
  }

  async #embed(cards: readonly ClassCard[]): Promise<void> {
    if (!this.#names) return
    this.#preparing += cards.length
    let embedded: Float32Array
    try {
      embedded = await this.#encoder.embed(cards.flatMap(cardLines))
    } finally {
      this.#preparing -= cards.length
    }
    let start = 0
    for (const card of cards) {
      const end = start + cardLines(card).length * this.#encoder.width
      this.#embeddings.set(card, embedded.subarray(start, end))
      start = end
    }
  }
}

/** What may have been meant by an id that no class has, by the ids, names and synonyms of those there are. */
export function suggestedClasses(id: unknown, cards: readonly ClassCard[]): string {
  const near =
    typeof id !== 'string' ? [] : nearest(id, cards, (card) => [card.id, card.name, ...(card.synonyms ?? [])])
  const some = cards.slice(0, 3).map((card) => card.id)
  return (
    didYouMean(near.map((card) => card.id)) ||
    `They are ${some.join(', ')}${cards.length > some.length ? ' and so on' : ''}.`
  )
}

/** What the text encoder reads of a card: `name, synonym, synonym.`, then each sentence. */
function cardLines(card: ClassCard): string[] {
  return [`${[card.name, ...(card.synonyms ?? [])].join(', ')}.`, ...card.sentences]
}

const cardFields = {
  ...cardShape,
  sentences: texts.optional().describe(TEXTS),
  description: text.optional().describe(TEXT),
}

/** @throws SegSamError `INVALID_ARGUMENT`, naming the field */
function checkedCard(card: unknown, name: string): ClassCard {
  if (typeof card !== 'object' || card === null || Array.isArray(card)) {
    throw unexpected('INVALID_ARGUMENT', name, card, 'a class card', EXAMPLE)
  }
  const fields = Object.keys(cardFields)
  const stray = Object.keys(card).find((field) => !fields.includes(field))
  if (stray !== undefined) {
    throw unexpected(
      'INVALID_ARGUMENT',
      `a field of ${name}`,
      stray,
      fields.join(', '),
      didYouMean(nearest(stray, fields, (field) => [field])),
    )
  }
  for (const [field, schema] of Object.entries(cardFields)) {
    const value = (card as Record<string, unknown>)[field]
    if (schema.safeParse(value).success) continue
    throw unexpected(
      'INVALID_ARGUMENT',
      `${field} of ${name}`,
      value,
      schema.description!,
      value === undefined ? EXAMPLE : '',
    )
  }
  const parsed = newCardSchema.safeParse(card)
  if (!parsed.success) {
    const { sentences } = card as { sentences?: unknown }
    const got = sentences === undefined ? 'neither sentences nor a description' : 'both sentences and a description'
    throw new SegSamError('INVALID_ARGUMENT', `${name} has ${got}; allowed: one of them. ${EXAMPLE}`)
  }
  const { description, ...rest } = parsed.data
  return Object.freeze({ ...rest, sentences: rest.sentences ?? Object.freeze(sentencesOf(description!)) })
}

const EXAMPLE =
  "A card is, for example, { id: 'cyst', name: 'Cyst', description: 'A round cavity. It is dark on T1-weighted MR.' }."

function sentencesOf(description: string): string[] {
  const segments = new Intl.Segmenter('en', { granularity: 'sentence' }).segment(description)
  return Array.from(segments, ({ segment }) => segment.trim()).filter(Boolean)
}

import type { Decoded } from '../binding.js'
import type { ClassCard } from './classes.js'
import { lazily } from './lazily.js'
import type { Hit, Label } from './scene.js'

/** What a prompt's object is called, and what else is in the image. */
export type Names = Pick<Hit, 'label' | 'labelReason' | 'candidates' | 'others'>

/** Presence from which a class counts among `hit.others`: more probable than not. */
export const PRESENCE_THRESHOLD = 0.5

/**
 * Names the object of the prompt at `place`.
 *
 * @param cards the classes that it was decoded with, in their order; `null`: the semantic part is untrained
 * @returns `target` with its names; candidates and others are ranked when they are first read
 */
export function withNames<T extends object>(
  target: T,
  { classProbabilities, presence }: Decoded,
  place: number,
  cards: readonly ClassCard[] | null,
): T & Names {
  if (!cards) {
    return Object.assign(target, { label: null, labelReason: 'untrained' as const, candidates: [], others: [] })
  }
  const count = cards.length
  const probabilities = classProbabilities.subarray(place * (count + 1), (place + 1) * (count + 1))
  const nothing = probabilities[count]!
  const best = largest(probabilities.subarray(0, count))
  const isLabel = probabilities[best]! > nothing
  const label = isLabel ? labelOf(cards[best]!, probabilities[best]!) : null
  const ofPresence = presence.subarray(place * count, (place + 1) * count)
  const named = Object.assign(target, { label, labelReason: isLabel ? null : ('nothing' as const) })
  const ranked = lazily(named, 'candidates', () => rank(cards, probabilities, { without: label }))
  return lazily(ranked, 'others', () => rank(cards, ofPresence, { above: PRESENCE_THRESHOLD, without: label }))
}

export interface RankRules {
  /** Only classes that are more probable, 0 to 1. */
  above?: number
  /** The class of this label is left out. */
  without?: Label | null
}

/** Classes by falling probability, the first of equals first. */
export function rank(cards: readonly ClassCard[], probabilities: Float32Array, { above, without }: RankRules): Label[] {
  const labels: Label[] = []
  for (const [k, card] of cards.entries()) {
    const probability = probabilities[k]!
    if (card.id === without?.id || (above !== undefined && !(probability > above))) continue
    labels.push(labelOf(card, probability))
  }
  return labels.sort((a, b) => b.probability - a.probability)
}

function labelOf({ id, name, codes = [] }: ClassCard, probability: number): Label {
  return { id, name, probability, codes }
}

/** The index of the largest value, the first of equals. */
function largest(values: Float32Array): number {
  let best = 0
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i
  return best
}

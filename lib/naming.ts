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
 * @returns `target` with its names; the candidates are ranked when they are first read
 */
export function withNames<T extends object>(
  target: T,
  { classProbabilities, presence }: Decoded,
  place: number,
  cards: readonly ClassCard[] | null,
): T & Names {
  if (!cards)
    return Object.assign(target, { label: null, labelReason: 'untrained' as const, candidates: [], others: [] })
  const count = cards.length
  const probabilities = classProbabilities.subarray(place * (count + 1), (place + 1) * (count + 1))
  const nothing = probabilities[count]!
  const best = largest(probabilities.subarray(0, count))
  const isLabel = probabilities[best]! > nothing
  const label = isLabel ? labelOf(cards[best]!, probabilities[best]!) : null
  const names = {
    label,
    labelReason: isLabel ? null : ('nothing' as const),
    others: rank(cards, presence.subarray(place * count, (place + 1) * count), PRESENCE_THRESHOLD, label),
  }
  return withCandidates(Object.assign(target, names), cards, probabilities)
}

/** A function of its own, so that the names hold nothing else of the call. */
function withCandidates<T extends Pick<Names, 'label'>>(
  target: T,
  cards: readonly ClassCard[],
  probabilities: Float32Array,
) {
  const { label } = target
  return lazily(target, 'candidates', () => rank(cards, probabilities, Number.NEGATIVE_INFINITY, label))
}

/**
 * Classes by falling probability, the first of equals first.
 *
 * @param above those that are no more probable are left out
 * @param other left out, too
 */
export function rank(
  cards: readonly ClassCard[],
  probabilities: Float32Array,
  above: number,
  other: Label | null = null,
): Label[] {
  const labels: Label[] = []
  for (const [k, card] of cards.entries()) {
    if (probabilities[k]! > above && card.id !== other?.id) labels.push(labelOf(card, probabilities[k]!))
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

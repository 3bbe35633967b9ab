import { distance } from 'fastest-levenshtein'

const MOST = 3
/** However long the word is. */
const MOST_EDITS = 8

/** A part of a name counts as that name from so many letters on. */
const SHORTEST_PART = 3

/**
 * Entries that a misspelt word may stand for, nearest first: at most three, and none where all are far from it.
 *
 * @param spellings what an entry may be called
 */
export function nearest<T>(word: string, entries: readonly T[], spellings: (entry: T) => readonly string[]): T[] {
  const wanted = plain(word)
  const allowed = Math.min(MOST_EDITS, Math.ceil(wanted.length / 3))
  // Names of another length are far, whatever is in them, and take long to compare.
  const isNear = (name: string) => Math.abs(name.length - wanted.length) <= allowed
  const edits = (name: string) => distance(wanted, plain(name))
  const isPart = (name: string) => wanted.length >= SHORTEST_PART && plain(name).includes(wanted)
  return entries
    .map((entry) => {
      const near = spellings(entry).filter((name) => isPart(name) || (isNear(name) && edits(name) <= allowed))
      return { entry, edits: Math.min(...near.map(edits)) }
    })
    .filter(({ edits }) => Number.isFinite(edits))
    .sort((a, b) => a.edits - b.edits)
    .slice(0, MOST)
    .map(({ entry }) => entry)
}

/** `Did you mean this or that?`; empty where no name is near. */
export function didYouMean(names: readonly string[]): string {
  if (names.length === 0) return ''
  const last = names.at(-1)
  return names.length === 1 ? `Did you mean ${last}?` : `Did you mean ${names.slice(0, -1).join(', ')} or ${last}?`
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[\s-]+/g, '_')
}

import { distance } from 'fastest-levenshtein'

const MOST = 3

/** Names that a misspelt word may stand for, nearest first: at most three, and none where all are far from it. */
export function nearest(word: string, known: readonly string[]): string[] {
  const wanted = plain(word)
  const allowed = Math.max(1, Math.floor(wanted.length / 3))
  return known
    .map((name) => ({ name, far: wanted !== '' && plain(name).includes(wanted) ? 0 : distance(wanted, plain(name)) }))
    .filter(({ far }) => far <= allowed)
    .sort((a, b) => a.far - b.far)
    .slice(0, MOST)
    .map(({ name }) => name)
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

import { describe, expect, it } from 'vitest'
import type { Model } from '../binding.js'
import { ClassBook, suggestedClasses } from '../lib/classes.js'
import type { SentenceEncoder } from '../lib/sentences.js'

const cards = [
  { id: 'disc', name: 'Disc', sentences: ['Round.'] },
  { id: 'ring', name: 'Ring', synonyms: ['annulus'], sentences: ['Round.', 'Hollow.'] },
]

/** Embeds a sentence as its length, and pools the sentences of a class into their sum. */
function bookOf({ failures = 0 } = {}) {
  const read: string[] = []
  const encoder = {
    width: 1,
    embed: async (sentences: string[]) => {
      if (failures-- > 0) throw new Error('out of memory')
      read.push(...sentences)
      return Float32Array.from(sentences, ({ length }) => length)
    },
  } as unknown as SentenceEncoder
  const model = {
    prepareClasses: async (sentences: Float32Array, counts: Int32Array) => {
      let at = 0
      return Array.from(counts, (count) => {
        at += count
        return sentences.subarray(at - count, at).reduce((a, b) => a + b, 0)
      })
    },
  } as unknown as Model
  return { book: new ClassBook(encoder, cards, true), model, read }
}

describe('class cards', () => {
  it('are embedded when a call first needs them, and once: name and synonyms, then each sentence', async () => {
    const { book, model, read } = bookOf()
    expect(read).toEqual([])
    expect(await (await book.select(['disc'])).vectors!.on(model)).toEqual(['Disc.Round.'.length])
    expect(read).toEqual(['Disc.', 'Round.'])
    const all = await book.select(undefined)
    expect(await all.vectors!.on(model)).toEqual(['Disc.Round.'.length, 'Ring, annulus.Round.Hollow.'.length])
    expect(read).toEqual(['Disc.', 'Round.', 'Ring, annulus.', 'Round.', 'Hollow.'])
    expect(await book.select(undefined)).toBe(all)
    await book.select(['ring', 'disc'])
    expect(read).toHaveLength(5)
  })

  it('of the caller keep their place among those of the bundle; a description is split into sentences', async () => {
    const { book, model, read } = bookOf()
    const card = { id: 'bar', name: 'Bar', description: 'Long. It lies across.' }
    const { cards: chosen, vectors } = await book.select(['ring', card, 'disc'])
    expect(chosen.map(({ id }) => id)).toEqual(['ring', 'bar', 'disc'])
    expect(await vectors!.on(model)).toEqual(
      ['Ring, annulus.Round.Hollow.', 'Bar.Long.It lies across.', 'Disc.Round.'].map((t) => t.length),
    )
    await book.select(['ring', { ...card }, 'disc'])
    expect(read).toHaveLength(8)
  })

  it('have vectors on each device that asks for them, computed once, and again after a failure', async () => {
    const { book, model } = bookOf()
    const { vectors } = await book.select(['disc'])
    let failures = 1
    const prepareClasses: Model['prepareClasses'] = async (...args) => {
      if (failures-- > 0) throw new Error('out of memory')
      return model.prepareClasses(...args)
    }
    const other = { prepareClasses } as unknown as Model
    const set = await vectors!.on(model)
    await expect(vectors!.on(other)).rejects.toThrow('out of memory')
    const otherSet = await vectors!.on(other)
    expect(otherSet).toEqual(set)
    expect(otherSet).not.toBe(set)
    expect(await vectors!.on(other)).toBe(otherSet)
  })

  it('can be asked for again after a failure', async () => {
    for (const request of [undefined, ['disc']]) {
      const { book } = bookOf({ failures: 1 })
      await expect(book.select(request)).rejects.toThrow('out of memory')
      expect((await book.select(request)).cards[0]!.id).toBe('disc')
    }
  })
})

describe('an id that no class has', () => {
  const known = ['Pancreas', 'Thalamus', 'Left thalamus', 'Bladder'].map((name) => ({
    id: name.toLowerCase().replace(' ', '_'),
    name,
    synonyms: name === 'Bladder' ? ['vesica'] : [],
    sentences: [],
  }))

  it.each([
    ['thalamuss', 'Did you mean thalamus?'],
    ['Thalamus', 'Did you mean thalamus or left_thalamus?'],
    ['left thalamus', 'Did you mean left_thalamus or thalamus?'],
    ['vesicA', 'Did you mean bladder?'],
    ['a', 'They are pancreas, thalamus, left_thalamus and so on.'],
    ['no_such_class', 'They are pancreas, thalamus, left_thalamus and so on.'],
    [undefined, 'They are pancreas, thalamus, left_thalamus and so on.'],
  ])('%s', (id, suggestion) => {
    expect(suggestedClasses(id, known)).toBe(suggestion)
  })

  it('is answered with three at most', () => {
    const many = ['aaaa1', 'aaaa2', 'aaaa3', 'aaaa4'].map((id) => ({ id, name: id, sentences: [] }))
    expect(suggestedClasses('aaaa', many)).toBe('Did you mean aaaa1, aaaa2 or aaaa3?')
    expect(suggestedClasses('a'.repeat(1_000_000), many)).toMatch(/^They are/)
    expect(suggestedClasses(Object.create(null), many.slice(0, 1))).toBe('They are aaaa1.')
  })
})

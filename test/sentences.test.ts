import { describe, expect, it } from 'vitest'
import type { Model } from '../binding.js'
import { SentenceEncoder, SentenceTokenizer } from '../lib/sentences.js'

const words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'round', 'bright', 'organ', '##s', '.']

function definition(overrides: object = {}) {
  return {
    version: '1.0',
    truncation: null,
    padding: {
      strategy: { Fixed: 6 },
      direction: 'Right',
      pad_to_multiple_of: null,
      pad_id: 0,
      pad_type_id: 0,
      pad_token: '[PAD]',
    },
    added_tokens: words.slice(0, 4).map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [
        { SpecialToken: { id: '[CLS]', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '[SEP]', type_id: 0 } },
      ],
      pair: [],
      special_tokens: {
        '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] },
        '[SEP]': { id: '[SEP]', ids: [3], tokens: ['[SEP]'] },
      },
    },
    decoder: null,
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
    },
    ...overrides,
  }
}

describe('SentenceTokenizer', () => {
  it('pads to the longest sentence and marks what is padding', () => {
    const tokenizer = new SentenceTokenizer(definition(), 64)
    expect(tokenizer.batch(['Round organs.', 'bright'].map((sentence) => tokenizer.tokens(sentence)))).toEqual({
      ids: BigInt64Array.of(2n, 4n, 6n, 7n, 8n, 3n, 2n, 5n, 3n, 0n, 0n, 0n),
      attention: BigInt64Array.of(1n, 1n, 1n, 1n, 1n, 1n, 1n, 1n, 1n, 0n, 0n, 0n),
      rows: 2,
      length: 6,
    })
  })

  it('truncates the words and keeps the special tokens around them', () => {
    expect(new SentenceTokenizer(definition(), 5).tokens('Round bright round bright organs.')).toEqual([2, 4, 5, 4, 3])
    expect(new SentenceTokenizer(definition({ post_processor: null }), 3).tokens('round bright round bright')).toEqual([
      4, 5, 4,
    ])
  })

  it('pads with the token that the tokenizer names', () => {
    const padding = { pad_id: 8, pad_token: '.' }
    expect(new SentenceTokenizer(definition({ padding }), 4).batch([[2, 4, 3], [2]]).ids).toEqual(
      BigInt64Array.of(2n, 4n, 3n, 2n, 8n, 8n),
    )
  })

  it('refuses a definition that is none', () => {
    for (const wrong of [{}, null, [], { model: { type: 'Unheard' } }, 'text']) {
      expect(() => new SentenceTokenizer(wrong, 4)).toThrow(expect.objectContaining({ code: 'BUNDLE_INVALID' }))
    }
  })
})

describe('SentenceEncoder', () => {
  it('gives the embeddings in the order of the sentences, whatever their lengths', async () => {
    const model = {
      embedText: async (ids: BigInt64Array, _attention: BigInt64Array, rows: number, length: number) =>
        Float32Array.from({ length: rows }, (_, row) => Number(ids[row * length + 1])),
    } as unknown as Model
    const encoder = new SentenceEncoder(model, new SentenceTokenizer(definition(), 6), 1)
    const sentences = Array.from({ length: 200 }, (_, i) => ['organ organ', 'bright', 'round round round'][i % 3]!)
    const expected = sentences.map((sentence) => ({ organ: 6, bright: 5, round: 4 })[sentence.split(' ')[0]!])
    expect([...(await encoder.embed(sentences))]).toEqual(expected)
  })
})

import { describe, expect, it } from 'vitest'
import { SentenceTokenizer } from '../lib/sentences.js'

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
  it('pads to the length of the text encoder and marks what is padding', () => {
    const batch = new SentenceTokenizer(definition(), 6).tokenize(['Round organs.', 'bright'])
    expect(batch).toEqual({
      ids: BigInt64Array.of(2n, 4n, 6n, 7n, 8n, 3n, 2n, 5n, 3n, 0n, 0n, 0n),
      attention: BigInt64Array.of(1n, 1n, 1n, 1n, 1n, 1n, 1n, 1n, 1n, 0n, 0n, 0n),
      rows: 2,
      length: 6,
    })
  })

  it('truncates the words and keeps the special tokens around them', () => {
    const { ids, attention } = new SentenceTokenizer(definition(), 5).tokenize(['Round bright round bright organs.'])
    expect(ids).toEqual(BigInt64Array.of(2n, 4n, 5n, 4n, 3n))
    expect(attention).toEqual(BigInt64Array.of(1n, 1n, 1n, 1n, 1n))
  })

  it('pads with the token that the tokenizer names', () => {
    const padding = { pad_id: 8, pad_token: '.' }
    expect(new SentenceTokenizer(definition({ padding }), 4).tokenize(['round']).ids).toEqual(
      BigInt64Array.of(2n, 4n, 3n, 8n),
    )
  })

  it('refuses a definition that is none', () => {
    for (const wrong of [{}, null, [], { model: { type: 'Unheard' } }, 'text']) {
      expect(() => new SentenceTokenizer(wrong, 4)).toThrow(expect.objectContaining({ code: 'BUNDLE_INVALID' }))
    }
  })
})

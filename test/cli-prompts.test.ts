import { InvalidArgumentError } from 'commander'
import { describe, expect, test } from 'vitest'
import { PromptArguments } from '../lib/cli/prompt-arguments.js'

/** Feeds words of a command line in their order. */
function promptsOf(...words: string[]) {
  const collected = new PromptArguments()
  for (const word of words) {
    if (word === 'next') collected.next()
    else if (word.split(',').length === 4) collected.box(word)
    else collected.point(word)
  }
  return collected.prompts
}

describe('prompts of the command line', () => {
  test('every box begins a prompt, and a point refines the prompt before it', () => {
    expect(promptsOf('1,2,3,4', '2,3', '9,9,0', '5,6,7,8')).toEqual([
      {
        box: [1, 2, 3, 4],
        points: [
          { x: 2, y: 3, label: 1 },
          { x: 9, y: 9, label: 0 },
        ],
      },
      { box: [5, 6, 7, 8] },
    ])
  })

  test('points without a box are one prompt', () => {
    expect(promptsOf('1,2', '3,4')).toEqual([
      {
        points: [
          { x: 1, y: 2, label: 1 },
          { x: 3, y: 4, label: 1 },
        ],
      },
    ])
  })

  test('next makes the following point begin a prompt, and nothing else', () => {
    expect(promptsOf('next', '1,2', 'next', 'next', '3,4', 'next', '1,2,3,4', 'next')).toEqual([
      { points: [{ x: 1, y: 2, label: 1 }] },
      { points: [{ x: 3, y: 4, label: 1 }] },
      { box: [1, 2, 3, 4] },
    ])
  })

  test('fractions and negative numbers are coordinates', () => {
    expect(promptsOf('-0.5,-0.5,1e1,2.25')).toEqual([{ box: [-0.5, -0.5, 10, 2.25] }])
  })

  test.each(['1', '1,', 'a,b', '1,2,2', '1,NaN', '1,2,3,4,5'])('refuses the point %s', (text) => {
    expect(() => new PromptArguments().point(text)).toThrow(InvalidArgumentError)
  })

  test.each(['1,2,3', '1,2,3,', '1,2,3,x', '1,2,3,Infinity', '', '3,2,1,4', '1,2,3,2'])(
    'refuses the box "%s"',
    (text) => {
      expect(() => new PromptArguments().box(text)).toThrow(InvalidArgumentError)
    },
  )
})

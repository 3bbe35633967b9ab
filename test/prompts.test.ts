import { describe, expect, it } from 'vitest'
import type { Prompt } from '../lib/index.js'
import { groupPrompts } from '../lib/prompts.js'

const frame = { width: 100, height: 50, maskSize: 2 }
const logits = Float32Array.of(1, 2, 3, 4)

describe('prompts become batches', () => {
  it('points come with SAM’s padding point, boxes as two corners after the points', () => {
    const groups = groupPrompts(
      [
        { points: [{ x: 3, y: 4 }] },
        { box: [1, 2, 30, 40] },
        { points: [{ x: 5, y: 6, label: 0 }], box: [1, 2, 30, 40] },
      ],
      frame,
    )
    expect(groups).toEqual([
      {
        indices: [0, 1],
        batch: {
          count: 2,
          pointsPerPrompt: 2,
          points: Float32Array.of(3, 4, 0, 0, 1, 2, 30, 40),
          labels: Int32Array.of(1, -1, 2, 3),
          masks: null,
        },
      },
      {
        indices: [2],
        batch: {
          count: 1,
          pointsPerPrompt: 3,
          points: Float32Array.of(5, 6, 1, 2, 30, 40),
          labels: Int32Array.of(0, 2, 3),
          masks: null,
        },
      },
    ])
  })

  it('prompts with a mask are kept apart from those without; a mask alone has one padding point', () => {
    const groups = groupPrompts(
      [{ mask: logits }, { box: [1, 2, 3, 4] }, { box: [1, 2, 3, 4], mask: logits }, { mask: logits }],
      frame,
    )
    expect(groups.map(({ indices }) => indices)).toEqual([[0, 3], [1], [2]])
    expect(groups[0]!.batch).toEqual({
      count: 2,
      pointsPerPrompt: 1,
      points: new Float32Array(4),
      labels: Int32Array.of(-1, -1),
      masks: Float32Array.of(1, 2, 3, 4, 1, 2, 3, 4),
    })
  })

  it('the whole image and its corners are inside', () => {
    expect(() =>
      groupPrompts([{ box: [-0.5, -0.5, 99.5, 49.5] }, { points: [{ x: -0.5, y: 49.4 }] }], frame),
    ).not.toThrow()
  })
})

describe('refused with INVALID_PROMPT, naming the place', () => {
  const refused: [string, unknown, RegExp][] = [
    ['no list', { box: [1, 2, 3, 4] }, /^prompts is/],
    ['an empty list', [], /at least one prompt/],
    ['nothing', undefined, /^prompts is/],
    ['a prompt that is an array', [[1, 2, 3, 4]], /prompts\[0\].*\{ box:/],
    ['an empty prompt', [{}], /at least one of points, box and mask/],
    ['an unknown key', [{ bbox: [1, 2, 3, 4] }], /'bbox'/],
    ['no points', [{ points: [] }], /prompts\[0\]\.points/],
    ['no points beside a box', [{ box: [1, 2, 3, 4], points: [] }], /prompts\[0\]\.points/],
    [
      'a NaN coordinate',
      [{ box: [1, 2, 3, 4] }, { points: [{ x: Number.NaN, y: 2 }] }],
      /^x of prompts\[1\]\.points\[0\] is NaN/,
    ],
    ['an infinite coordinate', [{ points: [{ x: 1, y: Number.POSITIVE_INFINITY }] }], /^y of .* is Infinity/],
    ['a string for a number', [{ points: [{ x: '1', y: 2 }] }], /^x of .* is '1'/],
    [
      'a missing coordinate',
      [{ points: [{ x: 1 }] }],
      /points\[0\] is \{ x: 1 \}; allowed: an object \{ x, y, label \}/,
    ],
    [
      'points as pairs',
      [{ points: [[9, 5]] }],
      /^prompts\[0\]\.points\[0\] is \[ 9, 5 \]; allowed: an object \{ x, y, label \}\. For example \{ x: 9, y: 5 \}/,
    ],
    ['points as pairs with labels', [{ points: [[9, 5, 0]] }], /is \[ 9, 5, 0 \]; .* For example \{ x: 9, y: 5 \}/],
    ['one point as two numbers', [{ points: [9, 5] }], /points\[0\] is 9; .* For example \{ x: 93, y: 65 \}/],
    [
      'one point without a list',
      [{ points: { x: 9, y: 5 } }],
      /points is \{ x: 9, y: 5 \}; allowed: a list .*\[\{ x: 93/,
    ],
    [
      'other names of coordinates',
      [{ points: [{ X: 9, Y: 5 }] }],
      /points\[0\] is \{ X: 9, Y: 5 \}; allowed: an object/,
    ],
    ['a point right of the image', [{ points: [{ x: 99.5, y: 2 }] }], /x < 99\.5.*100 x 50|100 x 50.*x < 99\.5/],
    ['a point above the image', [{ points: [{ x: 1, y: -0.6 }] }], /-0\.5 <= y/],
    [
      'a misspelt key of a point',
      [{ points: [{ x: 1, y: 1, lable: 0 }] }],
      /^a key of prompts\[0\]\.points\[0\] is 'lable'.*x, y, label/,
    ],
    ['another label', [{ points: [{ x: 1, y: 1, label: 2 }] }], /^label of prompts\[0\]\.points\[0\] is 2/],
    ['a point that is null', [{ points: [null] }], /points\[0\] is null/],
    ['a box of three', [{ box: [1, 2, 3] }], /four numbers/],
    [
      'a box of two corners',
      [
        {
          box: [
            [1, 2],
            [3, 4],
          ],
        },
      ],
      /box is \[ \[ 1, 2 \], \[ 3, 4 \] \]; allowed: a list of four numbers/,
    ],
    ['a box beyond the image', [{ box: [1, 2, 100, 40] }], /x1 of prompts\[0\]\.box is 100/],
    ['a box with NaN', [{ box: [1, Number.NaN, 10, 40] }], /y0 of prompts\[0\]\.box is NaN/],
    ['an empty box', [{ box: [5, 5, 5, 9] }], /x0 < x1/],
    ['a box given as x, y, width, height', [{ box: [60, 20, 10, 10] }], /not \[x, y, width, height\]/],
    ['a mask of another size', [{ mask: new Float32Array(5) }], /2 x 2 = 4/],
    ['a binary mask', [{ mask: new Uint8Array(4) }], /not its binary mask/],
    ['a mask with NaN', [{ mask: Float32Array.of(0, 1, Number.NaN, 0) }], /mask\[2\] is NaN/],
  ]
  for (const [name, prompts, message] of refused) {
    it(name, () => {
      expect(() => groupPrompts(prompts as Prompt[], frame)).toThrow(
        expect.objectContaining({ code: 'INVALID_PROMPT', message: expect.stringMatching(message) }),
      )
    })
  }

  it('a mask whose buffer was transferred', () => {
    const mask = new Float32Array(4)
    structuredClone(mask.buffer, { transfer: [mask.buffer] })
    expect(() => groupPrompts([{ mask }], frame)).toThrow(/transferred/)
  })
})

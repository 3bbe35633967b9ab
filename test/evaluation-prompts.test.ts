import { describe, expect, test } from 'vitest'
import {
  boxOf,
  checkPromptKinds,
  pointInside,
  pointWhereWrong,
  promptObjects,
  randomFor,
  sampleOf,
} from '../lib/eval/prompts.js'
import { Mask, type Prompt, type Scene, SegSam } from '../lib/index.js'
import { bundle, discImage } from './fixture.js'

const SIZE = { width: 40, height: 30 }

describe('boxOf', () => {
  test('runs through the centres of the outermost pixels', () => {
    expect(boxOf(rectangle(3, 4, 10, 20))).toEqual([3, 4, 9, 19])
  })

  test('covers a mask that is one pixel wide', () => {
    expect(boxOf(rectangle(3, 4, 4, 20))).toEqual([2.5, 4, 3.5, 19])
    expect(boxOf(rectangle(3, 4, 10, 5))).toEqual([3, 3.5, 9, 4.5])
  })
})

describe('points', () => {
  test('lie inside, every pixel as likely as any other', () => {
    const mask = rectangle(10, 10, 12, 12)
    const random = randomFor(1)
    const counts = new Map<string, number>()
    for (let i = 0; i < 4000; i++) {
      const { x, y, label } = pointInside(mask, random)
      expect(label).toBe(1)
      counts.set(`${x},${y}`, (counts.get(`${x},${y}`) ?? 0) + 1)
    }
    expect([...counts.keys()].sort()).toEqual(['10,10', '10,11', '11,10', '11,11'])
    // Five standard deviations of a count with the mean 1000.
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(140)
  })

  test('lie where the masks differ, labelled by the truth; inside where they are equal', () => {
    const [truth, found] = [rectangle(10, 10, 20, 20), rectangle(15, 10, 25, 20)]
    const random = randomFor(2)
    const seen = new Set<number>()
    for (let i = 0; i < 200; i++) {
      const { x, y, label } = pointWhereWrong(found, truth, random)
      expect(y >= 10 && y < 20).toBe(true)
      expect(label === 1 ? x >= 10 && x < 15 : x >= 20 && x < 25).toBe(true)
      seen.add(label!)
    }
    expect(seen.size).toBe(2)
    expect(pointWhereWrong(truth, truth, random)).toMatchObject({ label: 1 })
  })
})

describe('chance', () => {
  test('is the same for the same seed and names, and another for others', () => {
    const mask = rectangle(0, 0, 40, 30)
    const draw = (...names: (string | number)[]) => {
      const random = randomFor(3, ...names)
      return Array.from({ length: 5 }, () => pointInside(mask, random))
    }
    expect(draw('set', 'image', 1)).toEqual(draw('set', 'image', 1))
    expect(draw('set', 'image', 1)).not.toEqual(draw('set', 'image', 2))
    expect(draw('a', 'b')).not.toEqual(draw('ab'))
  })

  test('samples keep their order and have the length asked for, every item as likely', () => {
    const counts = [0, 0, 0, 0, 0]
    for (let i = 0; i < 2000; i++) {
      const sample = sampleOf([0, 1, 2, 3, 4], 2, randomFor(i))
      expect(sample).toHaveLength(2)
      expect(sample[0]! < sample[1]!).toBe(true)
      for (const item of sample) counts[item]!++
    }
    for (const count of counts) expect(Math.abs(count - 800)).toBeLessThan(110)
  })
})

test.each([[[]], [['box', 'box']], [['0pt']], [['21pt']], [['boxes']], [['1pt', '03pt']]])(
  'refuses the kinds %j',
  (kinds) => {
    expect(() => checkPromptKinds(kinds)).toThrow(/allowed: box and 1pt to 20pt/)
  },
)

describe('promptObjects', () => {
  test('gives points one after the other, with the logits so far, and keeps the answers asked for', async () => {
    using model = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32' })
    using scene = await model.encode(discImage(SIZE.width, SIZE.height))
    const truths = [rectangle(5, 5, 20, 20), rectangle(22, 8, 35, 25)]
    const { seen, spy } = watched(scene)
    const targets = truths.map((truth, i) => ({ truth, random: randomFor(0, i) }))
    const answers = await promptObjects(spy, targets, ['box', '1pt', '3pt'], { multimask: true })

    expect([...answers.keys()]).toEqual(['box', '1pt', '3pt'])
    expect(seen.map(({ multimask }) => multimask)).toEqual([false, true, false, false])
    expect(answers.get('box')!.map(({ prompt }) => prompt)).toEqual(truths.map((truth) => ({ box: boxOf(truth) })))
    const [first, third] = [answers.get('1pt')!, answers.get('3pt')!]
    for (const [i, truth] of truths.entries()) {
      const [a, b, c] = third[i]!.prompt.points!
      expect(first[i]!.prompt.points).toEqual([a])
      expect(truth.data[a!.y * SIZE.width + a!.x]).toBe(1)
      // The second point lies where the mask of the first one is wrong.
      const { mask } = first[i]!.hit
      expect(mask.data[b!.y * SIZE.width + b!.x]).toBe(1 - b!.label!)
      expect(truth.data[b!.y * SIZE.width + b!.x]).toBe(b!.label)
      expect(c).toBeDefined()
      expect(seen[2]!.prompts[i]!.mask).toEqual(first[i]!.hit.logits)
      expect(seen[1]!.prompts[i]!.mask).toBeUndefined()
    }
  })
})

/** The scene, and what it was asked. */
function watched(scene: Scene) {
  const seen: { prompts: readonly Prompt[]; multimask: boolean | undefined }[] = []
  const segment: Scene['segment'] = (prompts, options) => {
    seen.push({ prompts, multimask: options?.multimask })
    return scene.segment(prompts, options)
  }
  return { seen, spy: { segment } as Scene }
}

function rectangle(x0: number, y0: number, x1: number, y1: number): Mask {
  const { width, height } = SIZE
  const mask = new Mask(width, height, new Uint8Array(width * height))
  for (let y = y0; y < y1; y++) mask.data.fill(1, y * width + x0, y * width + x1)
  return mask
}

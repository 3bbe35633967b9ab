import { createHash } from 'node:crypto'
import { uniformInt } from 'pure-rand/distribution/uniformInt'
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus'
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator'
import { unexpected } from '../errors.js'
import type { Mask } from '../mask.js'
import type { Box, Point, Prompt } from '../prompts.js'
import type { Hit, Scene } from '../scene.js'

/** `box`, or `1pt`, `3pt` and so on: that many points, one after the other. */
export type PromptKind = 'box' | `${number}pt`

const MAX_POINTS = 20

/** @throws SegSamError `INVALID_ARGUMENT` */
export function checkPromptKinds(kinds: readonly string[]): PromptKind[] {
  const allowed = `box and 1pt to ${MAX_POINTS}pt, each once, as box,1pt,3pt`
  if (kinds.length === 0) throw unexpected('INVALID_ARGUMENT', '--prompts', kinds, allowed)
  for (const [i, kind] of kinds.entries()) {
    const known = kind === 'box' || (/^[1-9]\d?pt$/.test(kind) && pointsOf(kind) <= MAX_POINTS)
    if (!known || kinds.indexOf(kind) !== i)
      throw unexpected('INVALID_ARGUMENT', 'an entry of --prompts', kind, allowed)
  }
  return [...kinds] as PromptKind[]
}

function pointsOf(kind: string): number {
  return kind === 'box' ? 0 : Number.parseInt(kind, 10)
}

/** An object to prompt, and the chance that its points are drawn by. */
export interface Target {
  truth: Mask
  random: RandomGenerator
}

export interface Answer {
  /** The last one, with every point and the box. */
  prompt: Prompt
  hit: Hit
}

/**
 * Prompts objects of one image as SAM-Med2D's evaluation does (Cheng et al. 2023): the box of the true mask; or points,
 * the first at random inside, each further one at random where the mask so far is wrong, together with the logits so far.
 *
 * One mask a prompt. With `multimask` the first point gives three, of which the model trusts one most; every other
 * prompt leaves no doubt, and gives one.
 *
 * @returns for each kind the answers in the order of the targets
 */
export async function promptObjects(
  scene: Scene,
  targets: readonly Target[],
  kinds: readonly PromptKind[],
  { multimask }: { multimask: boolean },
): Promise<Map<PromptKind, Answer[]>> {
  const answers = new Map<PromptKind, Answer[]>()
  if (kinds.includes('box')) {
    const prompts = targets.map(({ truth }) => ({ box: boxOf(truth) }))
    answers.set('box', paired(prompts, await scene.segment(prompts, { multimask: false })))
  }
  let last: Answer[] = []
  for (let count = 1; count <= Math.max(...kinds.map(pointsOf)); count++) {
    const prompts = targets.map((target, i) => withNextPoint(target, last[i]))
    last = paired(prompts, await scene.segment(prompts, { multimask: multimask && count === 1 }))
    if (kinds.includes(`${count}pt`)) answers.set(`${count}pt`, last)
  }
  return answers
}

function paired(prompts: readonly Prompt[], hits: readonly Hit[]): Answer[] {
  return hits.map((hit, i) => ({ prompt: prompts[i]!, hit }))
}

function withNextPoint({ truth, random }: Target, last: Answer | undefined): Prompt {
  if (!last) return { points: [pointInside(truth, random)] }
  return { points: [...last.prompt.points!, pointWhereWrong(last.hit.mask, truth, random)], mask: last.hit.logits }
}

/**
 * Through the centres of the outermost pixels; where the mask is one pixel wide, its edges.
 *
 * @param mask not empty
 */
export function boxOf(mask: Mask): Box {
  const [x0, y0, x1, y1] = mask.bbox!
  const [wide, high] = [x0 === x1 ? 0.5 : 0, y0 === y1 ? 0.5 : 0]
  return [x0 - wide, y0 - high, x1 + wide, y1 + high]
}

/** A pixel of a mask that is not empty, all of them equally likely. */
export function pointInside(mask: Mask, random: RandomGenerator): Point {
  return { ...pixelWhere((i) => mask.data[i] !== 0, mask, random)!, label: 1 }
}

/** A pixel where the mask found and the truth differ, labelled by the truth; where they are equal, one inside. */
export function pointWhereWrong(found: Mask, truth: Mask, random: RandomGenerator): Point {
  const wrong = pixelWhere((i) => (found.data[i] !== 0) !== (truth.data[i] !== 0), truth, random)
  if (!wrong) return pointInside(truth, random)
  return { ...wrong, label: truth.data[wrong.y * truth.width + wrong.x] ? 1 : 0 }
}

function pixelWhere(isWanted: (i: number) => boolean, { width, height }: Mask, random: RandomGenerator) {
  const wanted: number[] = []
  for (let i = 0; i < width * height; i++) if (isWanted(i)) wanted.push(i)
  if (wanted.length === 0) return undefined
  const i = wanted[uniformInt(random, 0, wanted.length - 1)]!
  return { x: i % width, y: Math.floor(i / width) }
}

/** Chance of its own for whatever the names name, the same in every run with that seed. */
export function randomFor(seed: number, ...names: (string | number)[]): RandomGenerator {
  const hash = createHash('sha256').update(JSON.stringify([seed, ...names]))
  return xoroshiro128plus(hash.digest().readInt32LE())
}

/** `count` of the items in their order, all choices equally likely. */
export function sampleOf<T>(items: readonly T[], count: number, random: RandomGenerator): T[] {
  let wanted = count
  return items.filter((_, i) => {
    const isTaken = uniformInt(random, 1, items.length - i) <= wanted
    if (isTaken) wanted--
    return isTaken
  })
}

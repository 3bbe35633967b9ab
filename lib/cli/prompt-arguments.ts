import { InvalidArgumentError } from 'commander'
import { type Box, checkedBox, checkedPoint, type Point, type Prompt } from '../prompts.js'

/** How --box, --point and --next make up prompts; part of --help. */
export const PROMPT_HELP = `
Prompts: each prompt is one object, in pixels of the image, (0, 0) the centre of the top-left pixel.
  Every --box begins a prompt. A --point belongs to the prompt before it, or begins the first one.
  --next ends a prompt, so that the --point after it begins another.

  --box 10,10,50,60 --point 30,20 --point 45,55,0    one object: a box, a click inside, a click outside
  --box 10,10,50,60 --box 70,10,99,60                two objects
  --point 30,20 --point 32,28                        one object, two clicks
  --point 30,20 --next --point 80,40                 two objects, one click each`

/** Collects the prompts in the order of the command line. */
export class PromptArguments {
  readonly #prompts: { box?: Box; points?: Point[] }[] = []
  #open: { box?: Box; points?: Point[] } | undefined

  readonly box = (text: string): void => {
    const allowed = 'four numbers x0,y0,x1,y1 with x0 < x1 and y0 < y1, for example 40,52,180,201'
    const [x0, y0, x1, y1] = numbers(text, 4, allowed)
    if (!(x0! < x1! && y0! < y1!)) throw new InvalidArgumentError(`Allowed: ${allowed}.`)
    this.#begin().box = [x0!, y0!, x1!, y1!]
  }

  readonly point = (text: string): void => {
    const allowed = 'x,y for a click on the object, or x,y,0 for one outside, for example 90,88 or 12,30,0'
    const [x, y, label = 1] = numbers(text, text.split(',').length === 3 ? 3 : 2, allowed)
    if (label !== 0 && label !== 1) throw new InvalidArgumentError(`Allowed: ${allowed}.`)
    const prompt = this.#open ?? this.#begin()
    prompt.points = [...(prompt.points ?? []), { x: x!, y: y!, label }]
  }

  readonly next = (): void => {
    this.#open = undefined
  }

  /** Every prompt has a box or at least one point. */
  get prompts(): Prompt[] {
    return this.#prompts as Prompt[]
  }

  #begin() {
    this.#open = {}
    this.#prompts.push(this.#open)
    return this.#open
  }
}

/** @throws SegSamError `INVALID_PROMPT` for what lies outside the image, in the words of the command line */
export function checkPrompts(prompts: readonly Prompt[], size: { width: number; height: number }): void {
  for (const { box, points = [] } of prompts) {
    if (box) checkedBox(box, `--box ${box.join(',')}`, size)
    for (const point of points) checkedPoint(point, `--point ${point.x},${point.y}`, size)
  }
}

/** @throws InvalidArgumentError, which commander completes with the name of the option */
export function numbers(text: string, count: number, allowed: string): number[] {
  const values = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)))
  if (values.length !== count || !values.every(Number.isFinite)) throw new InvalidArgumentError(`Allowed: ${allowed}.`)
  return values
}

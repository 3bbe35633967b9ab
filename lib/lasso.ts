import { unexpected } from './errors.js'
import { type Box, checkedBox, type MaskLogits } from './prompts.js'
import { checkedPair, type Path } from './scribble.js'

/** Where the low-resolution logits of an image lie. */
export interface LogitsFrame {
  /** Of the original image. */
  width: number
  height: number
  /** Side of the square that the encoder sees. */
  imageSize: number
  /** Side of the logits. */
  maskSize: number
  resizeMode: 'longest' | 'stretch'
}

/**
 * Logit of a probability of 0.999, as micro-sam turns masks into mask prompts (Archit et al. 2025, Segment Anything for
 * Microscopy, `_compute_logits_from_mask`).
 */
export const LASSO_LOGIT = Math.log(0.999 / 0.001)

/**
 * A copy of a closed line around an object: at least three points, from -0.5 to width - 0.5 or height - 0.5 as the
 * corners of a box are, and a box around them that is not empty. The last point is joined to the first.
 *
 * @throws SegSamError `INVALID_PROMPT`
 */
export function checkedLasso(lasso: Path, name: string, size: { width: number; height: number }): Path {
  if (!Array.isArray(lasso) || lasso.length < 3) {
    throw unexpected('INVALID_PROMPT', name, lasso, 'a list of at least three points [x, y]')
  }
  const points = lasso.map((point, i) => Object.freeze([...checkedPair(point, `${name}[${i}]`)] as const))
  for (const [i, [x, y]] of points.entries()) {
    for (const [end, value, side] of [
      ['x', x, size.width],
      ['y', y, size.height],
    ] as const) {
      if (typeof value === 'number' && value >= -0.5 && value <= side - 0.5) continue
      throw unexpected(
        'INVALID_PROMPT',
        `${end} of ${name}[${i}]`,
        value,
        `a number in the image of ${size.width} x ${size.height} pixels, -0.5 to ${side - 0.5}`,
        'Cut off what was drawn beyond the edge.',
      )
    }
  }
  checkedBox(boxAround(points), `the box around ${name}`, size)
  return Object.freeze(points)
}

export function boxAround(lasso: Path): Box {
  let [x0, y0] = lasso[0]!
  let [x1, y1] = [x0, y0]
  for (const [x, y] of lasso) {
    x0 = Math.min(x0, x)
    y0 = Math.min(y0, y)
    x1 = Math.max(x1, x)
    y1 = Math.max(y1, y)
  }
  return [x0, y0, x1, y1]
}

/**
 * The mask prompt that stands for a lasso: {@link LASSO_LOGIT} where the centre of a cell of the low-resolution grid lies
 * inside, its negative elsewhere. Inside is where the line winds around the point (non-zero rule), so that a line that
 * crosses itself leaves no hole. `null` where no centre lies inside, because the lasso is finer than the grid.
 */
export function lassoLogits(lasso: Path, frame: LogitsFrame): MaskLogits | null {
  const { maskSize } = frame
  const { columns, rows } = cellCentres(frame)
  const logits = new Float32Array(maskSize * maskSize).fill(-LASSO_LOGIT)
  let found = false
  for (const [row, y] of rows.entries()) {
    const crossings = crossingsAt(y, lasso)
    let winding = 0
    let next = 0
    for (const [column, x] of columns.entries()) {
      for (; next < crossings.length && crossings[next]!.x <= x; next++) winding += crossings[next]!.turn
      if (winding === 0) continue
      logits[row * maskSize + column] = LASSO_LOGIT
      found = true
    }
  }
  return found ? logits : null
}

/** Where the line crosses a row, from left to right; `turn` is 1 downwards, -1 upwards. */
function crossingsAt(y: number, lasso: Path): { x: number; turn: number }[] {
  const crossings: { x: number; turn: number }[] = []
  let [ax, ay] = lasso.at(-1)!
  for (const [bx, by] of lasso) {
    if (ay <= y !== by <= y) {
      crossings.push({ x: ax + ((y - ay) / (by - ay)) * (bx - ax), turn: by > ay ? 1 : -1 })
    }
    ax = bx
    ay = by
  }
  return crossings.sort((a, b) => a.x - b.x)
}

/**
 * Centres of the cells, in pixels of the original image. The grid covers the encoder's square, at whose top left the
 * resized image lies; source of the geometry: segment-anything, `utils/transforms.py` (ResizeLongestSide).
 */
function cellCentres({ width, height, imageSize, maskSize, resizeMode }: LogitsFrame) {
  const scale = imageSize / Math.max(width, height)
  const resized = (side: number) => (resizeMode === 'stretch' ? imageSize : Math.max(1, Math.floor(side * scale + 0.5)))
  const centres = (side: number) => {
    const cell = (imageSize / maskSize) * (side / resized(side))
    return Array.from({ length: maskSize }, (_, i) => (i + 0.5) * cell - 0.5)
  }
  return { columns: centres(width), rows: centres(height) }
}

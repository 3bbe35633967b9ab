/** Pixels of the picture, x right and y down; (x, y) is the top-left corner. */
export interface Rect {
  x: number
  y: number
  width: number
  height: number
}

const STEP = 6

/**
 * The place for a label of the given size: inside the frame, off the obstacles as far as that is possible, and then as
 * near to the anchor as it goes. `gap` pixels are kept free around the label.
 */
export function placeLabel(
  size: { width: number; height: number },
  anchor: Rect,
  obstacles: Rect[],
  frame: Rect,
  gap: number,
): Rect {
  let best: Rect = { x: frame.x, y: frame.y, ...size }
  let bestCost = Number.POSITIVE_INFINITY
  for (const y of positions(frame.y, frame.height, size.height)) {
    for (const x of positions(frame.x, frame.width, size.width)) {
      const place = { x, y, ...size }
      const free = { x: x - gap, y: y - gap, width: size.width + 2 * gap, height: size.height + 2 * gap }
      const covered = obstacles.reduce((area, obstacle) => area + overlap(free, obstacle), 0)
      const cost = covered * (frame.width + frame.height) + distance(place, anchor)
      if (cost < bestCost) {
        best = place
        bestCost = cost
      }
    }
  }
  return best
}

function positions(start: number, room: number, extent: number): number[] {
  const count = Math.max(0, Math.floor((room - extent) / STEP)) + 1
  return Array.from({ length: count }, (_, i) => start + i * STEP)
}

function overlap(a: Rect, b: Rect): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x)
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y)
  return width > 0 && height > 0 ? width * height : 0
}

/** Between the nearest points, and a little between the centres, so that a label lines up with its object. */
function distance(a: Rect, b: Rect): number {
  const dx = Math.max(0, b.x - (a.x + a.width), a.x - (b.x + b.width))
  const dy = Math.max(0, b.y - (a.y + a.height), a.y - (b.y + b.height))
  const centres = Math.hypot(a.x + a.width / 2 - b.x - b.width / 2, a.y + a.height / 2 - b.y - b.height / 2)
  return Math.hypot(dx, dy) + centres / 4
}

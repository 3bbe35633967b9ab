import type { Component, Mask, Ring } from '../lib/index.js'

/*
 * What masks are held against: slow, and plain enough to be right at sight.
 */

/** COCO: the mask column by column, as the lengths of alternating runs, the first of zeros. */
export function runsByDefinition({ width, height, data }: Mask): number[] {
  const counts = [0]
  let expected = 0
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      const value = data[y * width + x] ? 1 : 0
      if (value !== expected) {
        counts.push(0)
        expected = value
      }
      counts[counts.length - 1]!++
    }
  }
  return counts
}

/**
 * COCO's string of runs: from the fourth run on the difference to the run two before; each number in groups of five
 * bits, lowest first, in two's complement; 32 marks that another group follows; 48 makes it printable.
 */
export function stringByDefinition(counts: number[]): string {
  let text = ''
  counts.forEach((count, i) => {
    const number = i > 2 ? count - counts[i - 2]! : count
    let groups = 1
    while (number < -(2 ** (5 * groups - 1)) || number >= 2 ** (5 * groups - 1)) groups++
    for (let group = 0; group < groups; group++) {
      const bits = Math.floor(number / 2 ** (5 * group)) & 31
      text += String.fromCharCode(bits + (group < groups - 1 ? 32 : 0) + 48)
    }
  })
  return text
}

export function componentsByFloodFill(
  mask: Mask,
  connectivity: 4 | 8,
): { labels: Int32Array; components: Component[] } {
  const labels = new Int32Array(mask.width * mask.height)
  const components: Component[] = []
  mask.data.forEach((value, start) => {
    if (!value || labels[start]) return
    const region = flood(mask, start, (pixel) => mask.data[pixel] !== 0, connectivity)
    const xs = region.map((pixel) => pixel % mask.width)
    const ys = region.map((pixel) => Math.floor(pixel / mask.width))
    for (const pixel of region) labels[pixel] = components.length + 1
    components.push({
      area: region.length,
      bbox: [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)],
    })
  })
  return { labels, components }
}

export function filledByFloodFill(mask: Mask, maxArea: number): Mask {
  const { width, height, data } = mask
  const filled = data.map((value) => (value ? 1 : 0))
  const seen = new Set<number>()
  data.forEach((value, start) => {
    if (value || seen.has(start)) return
    const region = flood(mask, start, (pixel) => data[pixel] === 0, 4)
    for (const pixel of region) seen.add(pixel)
    const isOpen = region.some((pixel) => {
      const [x, y] = [pixel % width, Math.floor(pixel / width)]
      return x === 0 || y === 0 || x === width - 1 || y === height - 1
    })
    if (!isOpen && region.length <= maxArea) for (const pixel of region) filled[pixel] = 1
  })
  return new (mask.constructor as typeof Mask)(width, height, filled)
}

/** Signed area, by the shoelace formula: positive for a ring that runs clockwise on the screen (y down). */
export function ringArea(ring: Ring): number {
  return (
    ring.reduce((sum, [x, y], i) => {
      const [nextX, nextY] = ring[(i + 1) % ring.length]!
      return sum + x * nextY - nextX * y
    }, 0) / 2
  )
}

/** Even-odd rule for a ray to the right. */
export function insideRing(ring: Ring, x: number, y: number): boolean {
  return (
    ring.filter(([ax, ay], i) => {
      const [bx, by] = ring[(i + 1) % ring.length]!
      return ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)
    }).length %
      2 ===
    1
  )
}

function flood({ width, height }: Mask, start: number, belongs: (pixel: number) => boolean, connectivity: 4 | 8) {
  const region = new Set([start])
  for (const pixel of region) {
    const [x, y] = [pixel % width, Math.floor(pixel / width)]
    for (const [dx, dy] of [-1, 0, 1].flatMap((a) => [-1, 0, 1].map((b) => [a, b] as const))) {
      if (connectivity === 4 && dx !== 0 && dy !== 0) continue
      const [nextX, nextY] = [x + dx, y + dy]
      if (nextX < 0 || nextY < 0 || nextX >= width || nextY >= height) continue
      const next = nextY * width + nextX
      if (belongs(next)) region.add(next)
    }
  }
  return [...region]
}

import type { VoxelMask } from './voxel-mask.js'

/** The connected regions of a mask of voxels. */
export interface VoxelComponents {
  /** Of the box of the mask, i fastest: 0, or the number of the region, from 1 on, in the order in which they are met. */
  labels: Uint32Array
  /** Voxels of each: `counts[number - 1]`. */
  counts: number[]
}

/**
 * Regions in which voxels touch by a face, an edge or a corner (26 neighbours). Two passes with a union of equal labels
 * (Rosenfeld and Pfaltz 1966, Sequential operations in digital picture processing).
 */
export function voxelComponents({ data, size }: Pick<VoxelMask, 'data' | 'size'>): VoxelComponents {
  const [width, height, depth] = size
  const labels = new Uint32Array(data.length)
  /** Of each provisional label one that it equals, itself at the root. */
  const parents = [0]
  const rootOf = (label: number) => {
    let root = label
    while (parents[root] !== root) root = parents[root]!
    while (parents[label] !== root) {
      const next = parents[label]!
      parents[label] = root
      label = next
    }
    return root
  }

  for (let k = 0, at = 0; k < depth; k++) {
    for (let j = 0; j < height; j++) {
      for (let i = 0; i < width; i++, at++) {
        if (!data[at]) continue
        let own = 0
        for (const [di, dj, dk] of BEFORE) {
          if (i + di < 0 || i + di >= width || j + dj < 0 || j + dj >= height || k + dk < 0) continue
          const other = labels[at + di + width * (dj + height * dk)]!
          if (other === 0 || other === own) continue
          const root = rootOf(other)
          if (own === 0) own = root
          else parents[Math.max(own, root)] = own = Math.min(own, root)
        }
        labels[at] = own || parents.push(parents.length) - 1
      }
    }
  }

  const numbers = new Map<number, number>()
  const counts: number[] = []
  for (const [at, label] of labels.entries()) {
    if (label === 0) continue
    const root = rootOf(label)
    let number = numbers.get(root)
    if (number === undefined) {
      number = counts.push(0)
      numbers.set(root, number)
    }
    counts[number - 1]!++
    labels[at] = number
  }
  return { labels, counts }
}

/** Those of the 26 neighbours that come before a voxel. */
const BEFORE = [-1, 0, 1]
  .flatMap((dk) => [-1, 0, 1].flatMap((dj) => [-1, 0, 1].map((di) => [di, dj, dk] as const)))
  .slice(0, 13)

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { onTestFinished } from 'vitest'

/** A folder of a test's own, removed afterwards. */
export async function ownFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'seg-sam-eval-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  return folder
}

/** A rectangle of one label value: columns and rows from, and up to but not including. */
export type Block = [value: number, x0: number, y0: number, x1: number, y1: number]

export const SIZE = { width: 48, height: 40 }

/** A gray PNG of the values painted on 0, in their order. */
export async function writeGray(
  path: string,
  blocks: readonly Block[],
  { width, height, bits = 8 }: { width: number; height: number; bits?: 8 | 16 } = SIZE,
): Promise<void> {
  const data = new Uint16Array(width * height)
  for (const [value, x0, y0, x1, y1] of blocks) {
    for (let y = y0; y < y1; y++) data.fill(value, y * width + x0, y * width + x1)
  }
  const raw = bits === 16 ? data : Uint8Array.from(data)
  await mkdir(join(path, '..'), { recursive: true })
  await sharp(raw, { raw: { width, height, channels: 1 } })
    .toColourspace(bits === 16 ? 'grey16' : 'b-w')
    .png()
    .toFile(path)
}

/** What the images show: the labels, brighter, so that there is something to see. */
function shown(blocks: readonly Block[]): Block[] {
  return blocks.map(([value, ...box]) => [60 + ((value * 50) % 190), ...box])
}

/** A data set with `dataset.json`; `labels` by the name of each image. */
export async function writeSlices(
  folder: string,
  labels: Record<string, readonly Block[]>,
  description: Record<string, unknown> = {},
): Promise<string> {
  for (const [name, blocks] of Object.entries(labels)) {
    await writeGray(join(folder, 'images', `${name}.png`), shown(blocks))
    const bits = description.labels === 'instances' ? 16 : 8
    await writeGray(join(folder, 'labels', `${name}.png`), blocks, { ...SIZE, bits })
  }
  const subjects = [...new Set(Object.keys(labels).map((name) => name.replace(/_[^_]*$/, '').split('-')[0]))]
  const content = {
    name: 'discs',
    modality: 'ct',
    labels: 'semantic',
    classes: [
      { value: 1, id: 'disc_left', name: 'Left disc' },
      { value: 2, id: 'disc_right', name: 'Right disc' },
      { value: 3, id: 'ring', name: 'Ring' },
    ],
    spacing_mm: null,
    split: { train: [], test: subjects },
    ...description,
  }
  await writeFile(join(folder, 'dataset.json'), JSON.stringify(content))
  return folder
}

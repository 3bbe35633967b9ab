import { createHash } from 'node:crypto'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { MedicalImage } from '../lib/index.js'

/** A bundle of random weights, small enough to lie in the repository. */
export const bundle = process.env.SEG_SAM_TEST_BUNDLE ?? fileURLToPath(new URL('fixtures/bundle', import.meta.url))

/** A copy of the bundle that a test may damage; removed afterwards. */
export async function copiedBundle(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'seg-sam-bundle-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await cp(bundle, folder, { recursive: true })
  return folder
}

/** A copy that says its semantic part has not been trained; removed afterwards. */
export async function untrainedBundle(): Promise<string> {
  const folder = await copiedBundle()
  await editJson(join(folder, 'manifest.json'), (manifest) => {
    manifest.semantic = 'untrained'
  })
  return folder
}

/** Replaces a file and makes the manifest agree. */
export async function forgeFile(folder: string, name: string, content: string | Buffer): Promise<void> {
  await writeFile(join(folder, name), content)
  await editJson(join(folder, 'manifest.json'), (manifest) => {
    manifest.files[name] = {
      bytes: Buffer.byteLength(content),
      sha256: createHash('sha256').update(content).digest('hex'),
    }
  })
}

// biome-ignore lint/suspicious/noExplicitAny: tests write whatever they want into it
export async function editJson(path: string, edit: (content: any) => void): Promise<void> {
  const content = JSON.parse(await readFile(path, 'utf8'))
  edit(content)
  await writeFile(path, JSON.stringify(content))
}

/** Where a scene comes from that is never saved. */
export const anyOrigin = { bundle: 'any', precision: 'fp32' } as const

/** A bright disc on a gradient: something with an edge, the same at every call. */
export function discImage(width: number, height: number): MedicalImage {
  const radius = Math.min(width, height) / 4
  const data = Uint8Array.from({ length: width * height }, (_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)]
    const isInside = Math.hypot(x - width / 2, y - height / 2) < radius
    return isInside ? 220 : Math.floor((80 * x) / width)
  })
  return { data, width, height, channels: 1 }
}

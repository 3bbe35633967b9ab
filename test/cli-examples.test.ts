import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

describe.skipIf(!existsSync(join(root, 'models/seg-sam-tiny/manifest.json')))('examples', () => {
  test('one-image names and outlines an object, and writes a picture', async () => {
    const { stdout, folder } = await example('one-image.mjs')
    expect(stdout).toMatch(/\d+ pixels, outlined by \d+ polygon/)
    expect(existsSync(join(folder, 'one-image.png'))).toBe(true)
  })

  test('many-images lists every structure of every slice', async () => {
    const { stdout } = await example('many-images.mjs')
    expect(stdout.match(/^mni152_\w+/gm)).toHaveLength(5)
    expect(stdout.match(/^ {2}\w+: .*predicted IoU/gm)).toHaveLength(31)
  })

  test('choose-classes ranks the classes it allows, its own among them', async () => {
    const { stdout } = await example('choose-classes.mjs')
    const names = stdout
      .trim()
      .split('\n')
      .map((line) => line.replace(/ +[\d.]+$/, ''))
    expect(names.sort()).toEqual(['Cyst', 'Lateral ventricle', 'Third ventricle'])
  })

  test('annotate goes on, back, and does it again from the log', async () => {
    const lines = (await example('annotate.mjs')).stdout.trim().split('\n')
    const areas = lines.map((line) => line.match(/(\d+) pixels/)?.[1])
    expect(areas).toHaveLength(6)
    expect(areas[3]).toBe(areas[1])
    expect(lines.at(-1)).toMatch(/IoU 1$/)
  })

  test('reword-class counts the prompts for every text, and docs/classes.md has these counts', async () => {
    const { stdout } = await example('reword-class.mjs')
    expect(stdout.match(/\d+ of \d+ \(\d+\)/g)).toHaveLength(4 * 5)
    expect(readFileSync(join(root, 'docs/classes.md'), 'utf8')).toContain(`-->\n\n${stdout}\n<!--`)
  })

  test('follow-lasso compares masks with the lasso, and docs/annotation.md has these numbers', async () => {
    const { stdout } = await example('follow-lasso.mjs')
    expect(stdout).toMatch(/mean IoU of 0\.\d\d with that triangle, the box\nalone 0\.\d\d/)
    expect(readFileSync(join(root, 'docs/annotation.md'), 'utf8')).toContain(`-->\n\n${stdout}\n<!--`)
  })
})

async function example(script: string) {
  const folder = await mkdtemp(join(tmpdir(), 'seg-sam-example-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'examples', script)], { cwd: folder })
  return { stdout, folder }
}

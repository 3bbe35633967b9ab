import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Stats } from '../lib/index.js'

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

  test('serve answers with a named mask, refuses bad prompts, and tells what it did', async () => {
    const server = spawn(process.execPath, [join(root, 'examples/serve.mjs'), '0'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void server.kill())
    const [line] = await once(server.stdout.setEncoding('utf8'), 'data')
    const address = `http://localhost:${line.match(/\d+/)[0]}`
    const body = await readFile(join(root, 'examples/images/mni152_axial_z8.png'))
    const ask = (query: string) => fetch(`${address}/segment?${query}`, { method: 'POST', body })
    const found = await (await ask('box=83,87,105,117')).json()
    expect(found).toMatchObject({ label: { id: expect.any(String) }, mask: { counts: expect.any(String) } })
    const refused = await ask('box=1,2')
    expect([refused.status, await refused.json()]).toMatchObject([400, { code: 'INVALID_PROMPT' }])
    const stats = (await (await fetch(`${address}/stats`)).json()) as Stats
    expect(stats).toMatchObject({ jobs: { done: 2 }, encode: { passes: 1 }, cache: { hits: 1, misses: 1 } })
  })
})

async function example(script: string) {
  const folder = await mkdtemp(join(tmpdir(), 'seg-sam-example-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'examples', script)], { cwd: folder })
  return { stdout, folder }
}

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundle } from './fixture.js'

const run = promisify(execFile)
const root = fileURLToPath(new URL('..', import.meta.url))

/** A project that has this package among its node_modules. */
let project: string
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'seg-sam-project-'))
  await mkdir(join(project, 'node_modules'))
  await symlink(root, join(project, 'node_modules', 'seg-sam'), 'dir')
})
afterAll(() => rm(project, { recursive: true }))

async function outputOf(name: string, source: string): Promise<string> {
  const path = join(project, name)
  await writeFile(path, source)
  const { stdout } = await run(process.execPath, ['--no-warnings', path])
  return stdout
}

const program = `
  const { SegSam, readImage } = seg
  const image = await readImage({ data: new Uint8Array(1200), width: 40, height: 30, channels: 1 })
  const model = await SegSam.load(${JSON.stringify(bundle)}, { device: 'cpu' })
  const [hit] = await (await model.encode(image)).segment([{ box: [2, 2, 30, 20] }])
  console.log(hit.mask.width, hit.mask.height)
`

describe('the built package', () => {
  it('is imported by ES modules', async () => {
    expect(await outputOf('main.mjs', `import * as seg from 'seg-sam'\n${program}`)).toBe('40 30\n')
  })

  it('is required by CommonJS', async () => {
    expect(await outputOf('main.cjs', `const seg = require('seg-sam')\n;(async () => {${program}})()`)).toBe('40 30\n')
  })

  it('brings a bundle, which is loaded where none is named', async () => {
    const source = `import { defaultBundle, SegSam } from 'seg-sam'
      const model = await SegSam.load()
      console.log(model.info.name, model.info.bundle === defaultBundle)`
    expect(await outputOf('bundle.mjs', source)).toBe('seg-sam-tiny true\n')
  })

  it('is one and the same for both, so that instanceof holds', async () => {
    const source = `const seg = require('seg-sam')
      import('seg-sam').then((esm) => console.log(esm.SegSamError === seg.SegSamError))`
    expect(await outputOf('both.cjs', source)).toBe('true\n')
  })

  it('can be imported and explains itself where the addon is missing', async () => {
    const source = `process.env.SEG_SAM_PREBUILD = ${JSON.stringify(project)}
      process.env.PREBUILDS_ONLY = '1'
      const seg = await import('seg-sam')
      try { seg.runtimeInfo() } catch (error) { console.log(error.code, error.message) }`
    const output = await outputOf('missing.mjs', source)
    expect(output).toMatch(/^ADDON_MISSING .*\n.*Tried.*\n.*npm run build:native/)
  })

  it('has types for both', async () => {
    await writeFile(
      join(project, 'types.mts'),
      `import { SegSam } from 'seg-sam'\nexport const model: Promise<SegSam> = SegSam.load('x')\n`,
    )
    await writeFile(
      join(project, 'types.cts'),
      `import seg = require('seg-sam')\nexport const model: Promise<seg.SegSam> = seg.SegSam.load('x')\n`,
    )
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    const options = ['--noEmit', '--strict', '--module', 'nodenext', '--lib', 'es2023,esnext.disposable']
    const typeRoots = ['--typeRoots', join(root, 'node_modules', '@types'), '--types', 'node']
    await run(process.execPath, [tsc, ...options, ...typeRoots, 'types.mts', 'types.cts'], { cwd: project })
  })
})

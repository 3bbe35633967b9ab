import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import ts from 'typescript'
import { afterAll, describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const run = promisify(execFile)

/** Inside the package, so that `import 'seg-sam'` means this package. */
const snippets = join(root, 'build/readme')
const out = mkdtempSync(join(tmpdir(), 'seg-sam-readme-'))
afterAll(() => rmSync(out, { recursive: true }))

describe.skipIf(!existsSync(join(root, 'models/seg-sam-tiny/manifest.json')))('README', () => {
  test.each(blocks('ts').map((code, i) => [i, code] as const))('TypeScript snippet %i runs', async (i, code) => {
    mkdirSync(snippets, { recursive: true })
    const file = join(snippets, `snippet-${i}.mjs`)
    const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ESNext }
    writeFileSync(file, ts.transpileModule(code, { compilerOptions: options }).outputText)
    const { stderr } = await run(process.execPath, [file], { cwd: root })
    expect(stderr).toBe('')
  })

  const commands = blocks('sh').flatMap((block) => block.match(/^npx seg-sam .*$/gm) ?? [])
  test.each(commands)('%s', async (command) => {
    const words = command.split(/\s+/).slice(2)
    const args = words.map((word) => (['found', 'labelled'].includes(word) ? join(out, word) : word))
    const { stdout } = await run(process.execPath, ['dist/cli/main.js', ...args], { cwd: root })
    expect(stdout).not.toBe('')
  })
})

function blocks(language: string): string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map((match) => match[1] as string)
}

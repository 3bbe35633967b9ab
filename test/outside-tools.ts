import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = fileURLToPath(new URL('..', import.meta.url))
const ownPython = join(root, '.venv/bin/python')

/** Programs nobody here wrote, which say whether files are right. With `CI` set a missing one is an error. */
export const python = process.env.PYTHON ?? (existsSync(ownPython) ? ownPython : 'python3')

/** Whether Python has these modules. */
export function hasPython(...modules: string[]): boolean {
  return isThere(python, ['-c', `import ${modules.join(', ')}`], `Python with ${modules.join(', ')} (${python})`)
}

/** Whether a program is on the path. */
export function hasProgram(name: string): boolean {
  return isThere('which', [name], name)
}

export async function runTool(command: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  try {
    const { stdout, stderr } = await promisify(execFile)(command, args, { maxBuffer: 1 << 26 })
    return { code: 0, output: stdout + stderr }
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: number; stdout?: string; stderr?: string }
    if (typeof code !== 'number') throw error
    return { code, output: stdout + stderr }
  }
}

function isThere(command: string, args: string[], what: string): boolean {
  if (spawnSync(command, args).status === 0) return true
  if (process.env.CI) throw new Error(`${what} is missing, without which these tests prove nothing.`)
  console.warn(`${what} is missing: its tests are skipped.`)
  return false
}

// What `npm run bench` starts: installs the peers when they are missing, compiles the benchmark, runs it from the root.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const bench = dirname(fileURLToPath(import.meta.url))
const root = resolve(bench, '..')
const options = process.argv.slice(2)

const { dependencies } = JSON.parse(readFileSync(join(bench, 'package.json'), 'utf8'))
if (
  !options.includes('--no-install') &&
  Object.entries(dependencies).some(([name, version]) => installed(name) !== version)
) {
  console.log('Installing the peers into bench/node_modules.')
  // The CPU runtime lies in the package; its install script would only fetch that for CUDA.
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' }
  run('npm', ['install', '--no-audit', '--no-fund', '--no-progress'], { cwd: bench, env })
}
run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', bench], { cwd: root })
run(process.execPath, [join(bench, 'dist/main.js'), ...options], { cwd: root })

/** The version in bench/node_modules, `null` where there is none. */
function installed(name) {
  const file = join(bench, 'node_modules', name, 'package.json')
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).version : null
}

function run(command, args, settings) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', ...settings })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}

#!/usr/bin/env node
/**
 * Packs what a machine without a network needs to build, test and measure the package: sources, compiled TypeScript,
 * npm packages, the default bundle and Node.js itself. That machine brings CMake, a C++ compiler and a Python with
 * torch, whose libtorch is taken. There:
 *
 *     tar -xf seg-sam-offline.tar.xz && seg-sam-offline/native/offline/run.sh
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { packageFolder } from '../install/libtorch.mjs'

const name = 'seg-sam-offline'
const folders = ['native', 'test/native', 'test/reference', 'dist', 'bench', 'examples', 'models']
const files = [
  'package.json',
  'CMakeLists.txt',
  'binding.d.ts',
  'docs/performance.md',
  'docs/performance-gpu.md',
  'LICENSE',
]
const left = ['bench/cache', 'bench/node_modules', '__pycache__', '.pytest_cache']

const out = process.argv[2] ?? `${name}.tar.xz`
run('npm', ['run', '--silent', 'build:ts'])
run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'bench'])

const own = mkdtempSync(join(tmpdir(), 'seg-sam-'))
try {
  mkdirSync(join(own, 'node/bin'), { recursive: true })
  copyFileSync(process.execPath, join(own, 'node/bin/node'))
  const excluded = left.map((path) => `--exclude=${path}`)
  const renamed = ['--transform', `s,^,${name}/,`]
  const packed = [...files, ...folders, ...npmPackages(), '-C', own, 'node']
  run('tar', ['-cJf', out, ...excluded, ...renamed, ...packed], { XZ_OPT: '-T0' })
} finally {
  rmSync(own, { recursive: true })
}
console.log(`${out}: ${(statSync(out).size / 2 ** 20).toFixed(1)} MiB`)

/** Folders of the packages that the compiled TypeScript imports and the addon is built with. */
function npmPackages() {
  const listed = run('npm', ['ls', '--omit=dev', '--all', '--parseable'], {}, 'pipe').stdout
  return [...new Set(listed.trim().split('\n'))].map((path) => relative(packageFolder, path)).filter(Boolean)
}

function run(command, args, env = {}, stdout = 'inherit') {
  const settings = { cwd: packageFolder, encoding: 'utf8', env: { ...process.env, ...env } }
  const result = spawnSync(command, args, { ...settings, stdio: ['ignore', stdout, 'inherit'] })
  if (result.error) throw result.error
  if (result.status !== 0) throw new Error(`${command} ${args[0]} failed`)
  return result
}

#!/usr/bin/env node
/** Builds the addon into build/Release with cmake-js, incrementally. Needs `<package>/libtorch`: `npm run libtorch`. */
import { spawnSync } from 'node:child_process'
import { realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { packageFolder } from './libtorch.mjs'

/** One compiler that reads libtorch's headers takes about this much memory. */
const bytesPerCompiler = 1.5 * 2 ** 30

/** @returns {string} why it failed; empty where the addon was built */
export function build() {
  const missing = missingTool()
  if (missing) return missing
  const jobs = Math.max(1, Math.min(availableParallelism(), Math.floor(totalmem() / bytesPerCompiler)))
  const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js')
  const args = [cmakeJs, 'build', '--log-level', 'error', '--parallel', String(jobs)]
  const result = spawnSync(process.execPath, args, { cwd: packageFolder, stdio: 'inherit' })
  return result.status === 0 ? '' : 'cmake-js failed: its messages are above'
}

function missingTool() {
  const runs = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0
  if (!runs('cmake')) return 'cmake was not found. Install CMake 3.22 or newer (Debian, Ubuntu: apt install cmake)'
  if (!runs(process.env.CXX ?? 'c++') && !runs('g++') && !runs('clang++')) {
    return 'no C++ compiler was found. Install one that knows C++20 (Debian, Ubuntu: apt install g++ make)'
  }
  return ''
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const failure = build()
  if (failure) {
    console.error(`seg-sam: ${failure}`)
    process.exitCode = 1
  }
}

#!/usr/bin/env node
/** Makes prebuilds/<platform>-<arch>/seg-sam.<libc>.node with prebuildify, which runs our build in place of node-gyp. */
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { packageFolder } from './libtorch.mjs'

const prebuildify = createRequire(import.meta.url).resolve('prebuildify/bin.js')
const nodeGyp = fileURLToPath(new URL('./build.mjs', import.meta.url))
const args = [prebuildify, '--napi', '--name', 'seg-sam', '--tag-libc', '--strip', '--node-gyp', nodeGyp]
process.exitCode = spawnSync(process.execPath, args, { cwd: packageFolder, stdio: 'inherit' }).status ?? 1

#!/usr/bin/env node
/**
 * npm's install script: makes the addon loadable.
 *
 * A prebuild that loads is left alone, and so is a build that is younger than its sources. A prebuild that lacks only libtorch gets a libtorch found on this machine
 * linked to it; where none is found, the command that downloads it is told. Without a prebuild, libtorch is obtained,
 * with a download if need be, and the addon is built. `SEG_SAM_SKIP_INSTALL=1` skips all of it.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { build } from './build.mjs'
import { packageFolder, provideLibtorch, version, versionOf } from './libtorch.mjs'

function log(line) {
  console.log(`seg-sam: ${line}`)
}

if (process.env.SEG_SAM_SKIP_INSTALL === '1') log('SEG_SAM_SKIP_INSTALL=1: the addon is neither looked for nor built')
else await install().catch(fail)

async function install() {
  const present = addonFile()
  if (present && !isOutdated(present) && loads(present)) return log(`the addon is ready: ${present}`)

  if (present?.startsWith(join(packageFolder, 'prebuilds'))) {
    const found = await provideLibtorch({ download: false, log }).catch((error) => log(error.message))
    if (found && versionOf(found) === version && loads(present)) return log(`the addon is ready: ${present}`)
    log(`the prebuilt addon needs libtorch ${version}, which was not found. To download it, run`)
    return log(`    node ${join(packageFolder, 'native', 'install', 'libtorch.mjs')}`)
  }

  await provideLibtorch({ download: true, log })
  log('building the addon, which takes a few minutes ...')
  const failure = build()
  if (failure) throw new Error(failure)
  const built = addonFile()
  const complaint = built ? loadingError(built) : 'no file in build/Release'
  if (complaint) throw new Error(`the addon was built but does not load: ${complaint}`)
  log(`the addon is ready: ${built}`)
}

/** What node-gyp-build would load; null where there is nothing. */
function addonFile() {
  try {
    return createRequire(import.meta.url)('node-gyp-build').path(packageFolder)
  } catch {
    return null
  }
}

/** Whether a source has changed since the addon was built, as after `git pull`. */
function isOutdated(file) {
  if (!file.startsWith(join(packageFolder, 'build'))) return false
  const built = statSync(file).mtimeMs
  const native = join(packageFolder, 'native')
  const sources = readdirSync(native, { recursive: true, withFileTypes: true }).filter(({ name }) =>
    /\.(cc|h)$/.test(name),
  )
  const paths = [
    join(packageFolder, 'CMakeLists.txt'),
    ...sources.map(({ parentPath, name }) => join(parentPath, name)),
  ]
  return paths.some((path) => statSync(path).mtimeMs > built)
}

function loads(file) {
  return loadingError(file) === ''
}

/** In a process of its own: a broken addon may end it. */
function loadingError(file) {
  const result = spawnSync(process.execPath, ['-e', `require(${JSON.stringify(file)})`], { encoding: 'utf8' })
  if (result.status === 0) return ''
  return result.stderr.match(/Error: .*/)?.[0] ?? `exit code ${result.status ?? result.signal}`
}

function fail(error) {
  console.error(`seg-sam: ${error.message}`)
  console.error('seg-sam: after mending that, run `npm rebuild seg-sam`, or in a clone `npm install`.')
  console.error('seg-sam: SEG_SAM_SKIP_INSTALL=1 installs the package without its addon.')
  process.exitCode = 1
}

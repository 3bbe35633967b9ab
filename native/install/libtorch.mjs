#!/usr/bin/env node
/**
 * Finds libtorch, or obtains it, and links `<package>/libtorch` to it.
 *
 *     npm run libtorch               find, else download
 *     npm run libtorch -- --check    only report
 *     npm run libtorch -- --local    find, never download
 *
 * Environment: `LIBTORCH` (a folder with lib/ and include/), `SEG_SAM_CACHE` (else `$XDG_CACHE_HOME/seg-sam`, else
 * `~/.cache/seg-sam`), `SEG_SAM_LIBTORCH_SHA256` (what the official zip must hash to).
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  createReadStream,
  createWriteStream,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'

export const version = '2.13.0'
export const packageFolder = resolve(fileURLToPath(new URL('../..', import.meta.url)))

const link = join(packageFolder, 'libtorch')
/** Minor versions of libtorch 2 that the source compiles against; a prebuilt addon needs exactly `version`. */
const compilable = { least: 11, most: 14 }
const neededFiles = [
  'lib/libtorch.so',
  'lib/libtorch_cpu.so',
  'lib/libc10.so',
  'include/torch/csrc/jit/api/module.h',
  'include/torch/headeronly/version.h',
]
const zipUrl = `https://download.pytorch.org/libtorch/cpu/libtorch-shared-with-deps-${version}%2Bcpu.zip`
const wheelIndex = 'https://download.pytorch.org/whl/cpu'

/**
 * Makes `<package>/libtorch` a usable libtorch. Logs which one is used and why others were passed over.
 *
 * @param {{ download: boolean, write?: boolean, log?: (line: string) => void }} options
 *   `download`: obtain it where none is found; `write: false`: change nothing
 * @returns {Promise<string | null>} its folder, `null` where none was found
 */
export async function provideLibtorch({ download, write = true, log = console.log }) {
  if (process.platform !== 'linux') throw new Error(`seg-sam runs on Linux, not on ${process.platform}.`)
  const passed = (place, reason) => log(`libtorch: passed over ${place}: ${reason}`)
  const use = (folder, place) => {
    log(`libtorch: ${versionOf(folder)} from ${place}: ${folder}`)
    if (write) linkTo(folder)
    return folder
  }

  if (process.env.LIBTORCH) {
    const folder = resolve(process.env.LIBTORCH)
    const fault = faultOf(folder, isCompilable)
    if (fault) throw new Error(`LIBTORCH=${folder} cannot be used: ${fault}. Correct it or unset it.`)
    return use(folder, 'LIBTORCH')
  }
  passed('LIBTORCH', 'not set')

  if (existsSync(link)) {
    const fault = faultOf(link, isCompilable)
    if (!fault) {
      log(`libtorch: ${versionOf(link)}, already linked: ${realpathSync(link)}`)
      return realpathSync(link)
    }
    passed(link, fault)
  }

  const cached = join(cacheFolder(), `libtorch-${version}`)
  const cacheFault = faultOf(cached, isPinned)
  if (!cacheFault) return use(cached, 'the cache')
  passed(cached, cacheFault)

  for (const python of pythons()) {
    const torch = torchOf(python)
    const fault = torch ? faultOf(torch, isPinned) : 'no torch installed there'
    if (!fault) return use(torch, python)
    passed(torch ?? python, fault)
  }

  if (!download) return null
  const obtained = obtainWheel(cached, log, passed) || (await obtainZip(cached, log))
  return use(cached, obtained)
}

/** Why a folder is no usable libtorch; empty where it is one. */
function faultOf(folder, accepts) {
  if (!existsSync(folder)) return 'does not exist'
  const missing = neededFiles.find((file) => !existsSync(join(folder, file)))
  if (missing) return `${missing} is missing`
  const found = versionOf(folder)
  return accepts(found) ? '' : `version ${found}, ${version} is needed`
}

const isPinned = (found) => found === version

function isCompilable(found) {
  const [major, minor] = found.split('.').map(Number)
  return major === 2 && minor >= compilable.least && minor <= compilable.most
}

/** As its headers tell it, for example `2.13.0`. */
export function versionOf(folder) {
  const header = readFileSync(join(folder, 'include/torch/headeronly/version.h'), 'utf8')
  return ['MAJOR', 'MINOR', 'PATCH']
    .map((part) => header.match(new RegExp(`#define TORCH_VERSION_${part} (\\d+)`))?.[1] ?? '?')
    .join('.')
}

function linkTo(folder) {
  const target = realpathSync(folder)
  const present = lstatSync(link, { throwIfNoEntry: false })
  if (present?.isSymbolicLink()) unlinkSync(link)
  else if (present)
    throw new Error(`${link} is in the way: it is not a link. Move it elsewhere and set LIBTORCH to it.`)
  symlinkSync(target, link, 'dir')
}

function cacheFolder() {
  if (process.env.SEG_SAM_CACHE) return resolve(process.env.SEG_SAM_CACHE)
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'seg-sam')
}

/** Python interpreters: those of an active environment first. */
function pythons() {
  const environments = [process.env.VIRTUAL_ENV, process.env.CONDA_PREFIX].filter(Boolean)
  const candidates = [...environments.map((folder) => join(folder, 'bin', 'python')), 'python3', 'python']
  const found = candidates.map((python) => run(python, ['-c', 'import sys; print(sys.executable)'])?.trim())
  return [...new Set(found.filter(Boolean))]
}

/** The torch folder of a Python, which has lib/ and include/. Does not import torch. */
function torchOf(python) {
  const program =
    'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")'
  return run(python, ['-c', program])?.trim() || null
}

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], ...options })
  return result.status === 0 ? (result.stdout ?? '') : null
}

/** Downloads the wheel of torch with pip, which checks its hash, and unpacks what is needed of it. */
function obtainWheel(target, log, passed) {
  const requirement = `torch==${version}+cpu`
  const [python] = pythons()
  if (!python) {
    passed('pip', 'no Python found')
    return null
  }
  const attempts = [
    { name: 'pip without an index', args: ['--no-index'] },
    { name: 'pip', args: ['--extra-index-url', wheelIndex] },
  ]
  for (const { name, args } of attempts) {
    const folder = temporaryFolder()
    try {
      log(`libtorch: downloading ${requirement} (${name}) ...`)
      const pip = ['-m', 'pip', 'download', '--no-deps', '--only-binary=:all:', '--quiet', '--dest', folder]
      const result = spawnSync(python, [...pip, ...args, requirement], { encoding: 'utf8' })
      const wheel = readdirSync(folder).find((file) => file.endsWith('.whl'))
      if (result.status !== 0 || !wheel) {
        passed(name, lastLine(result.stderr) || `exit code ${result.status}`)
        continue
      }
      log('libtorch: unpacking ...')
      const program = [
        'import sys, zipfile',
        'z = zipfile.ZipFile(sys.argv[1])',
        'z.extractall(sys.argv[2], [n for n in z.namelist() if n.startswith(("torch/lib/", "torch/include/"))])',
      ].join('\n')
      const unpacked = spawnSync(python, ['-c', program, join(folder, wheel), folder], { encoding: 'utf8' })
      if (unpacked.status !== 0) throw new Error(`Cannot unpack ${wheel}: ${lastLine(unpacked.stderr)}`)
      moveIntoCache(join(folder, 'torch'), target)
      return name
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
  return null
}

/** Downloads the official zip. No hash is published beside it: what it says it is gets checked, and its hash printed. */
async function obtainZip(target, log) {
  if (process.arch !== 'x64') {
    throw new Error(`There is no zip of libtorch for Linux on ${process.arch}. Install torch ${version} with pip.`)
  }
  const folder = temporaryFolder()
  try {
    const zip = join(folder, 'libtorch.zip')
    log(`libtorch: downloading ${zipUrl} ...`)
    const response = await fetch(zipUrl).catch((error) => ({ ok: false, status: error.cause?.code ?? error.message }))
    if (!response.ok) {
      throw new Error(
        `Cannot obtain libtorch ${version}: ${zipUrl} gave ${response.status}.\n` +
          `Behind a proxy or offline: install torch ${version} with pip, or unpack that zip yourself and set LIBTORCH ` +
          'to its folder; then run `npm run libtorch` again.',
      )
    }
    await pipeline(Readable.fromWeb(response.body), createWriteStream(zip))
    const hash = createHash('sha256')
    await pipeline(createReadStream(zip), hash)
    const sha256 = hash.digest('hex')
    const expected = process.env.SEG_SAM_LIBTORCH_SHA256
    if (expected && expected.toLowerCase() !== sha256) {
      throw new Error(`The zip has SHA-256 ${sha256}, SEG_SAM_LIBTORCH_SHA256 is ${expected}`)
    }
    log(`libtorch: SHA-256 ${sha256}${expected ? '' : ' (not compared: set SEG_SAM_LIBTORCH_SHA256 to enforce one)'}`)
    if (run('unzip', ['-q', zip, '-d', folder]) === null) throw new Error('Cannot unpack the zip: is unzip installed?')
    const build = readFileSync(join(folder, 'libtorch', 'build-version'), 'utf8').trim()
    if (build !== `${version}+cpu`) throw new Error(`The zip contains libtorch ${build}, expected ${version}+cpu`)
    moveIntoCache(join(folder, 'libtorch'), target)
    return zipUrl
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Beside the final place, so that moving there is atomic. */
function temporaryFolder() {
  mkdirSync(cacheFolder(), { recursive: true })
  return mkdtempSync(join(cacheFolder(), 'download-'))
}

function moveIntoCache(folder, target) {
  const fault = faultOf(folder, isPinned)
  if (fault) throw new Error(`What was downloaded is no libtorch ${version}: ${fault}`)
  rmSync(target, { recursive: true, force: true })
  renameSync(folder, target)
}

const lastLine = (text) => (text ?? '').trim().split('\n').at(-1)

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const check = process.argv.includes('--check')
  try {
    const found = await provideLibtorch({ download: !check && !process.argv.includes('--local'), write: !check })
    if (!found) {
      console.error(`libtorch: none found. \`npm run libtorch\` obtains version ${version}.`)
      process.exitCode = 1
    }
  } catch (error) {
    console.error(`libtorch: ${error.message}`)
    process.exitCode = 1
  }
}

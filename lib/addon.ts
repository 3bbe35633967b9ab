import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import nodeGypBuild from 'node-gyp-build'
import type * as Binding from '../binding.js'
import { SegSamError, unexpected } from './errors.js'

export type Addon = typeof Binding
export type RuntimeInfo = Binding.RuntimeInfo
export type Device = Binding.ModelOptions['device']
export type Precision = Binding.ModelOptions['precision']

const ABI_VERSION = 6
const packageRoot = fileURLToPath(new URL('..', import.meta.url))

let loaded: Addon | undefined

/**
 * The native addon, loaded at the first call, so that the package can be imported (and can explain itself) without it.
 *
 * @throws SegSamError `ADDON_MISSING` or `LIBTORCH_MISSING`, with what was tried and what to run next.
 */
export function addon(): Addon {
  loaded ??= load()
  return loaded
}

/** libtorch's version and place, devices, threads and instruction sets. Loads no model. */
export function runtimeInfo(): RuntimeInfo {
  return addon().runtimeInfo()
}

function load(): Addon {
  checkNiceness(process.env.SEG_SAM_NICE)
  let binding: Addon
  try {
    binding = nodeGypBuild(packageRoot) as Addon
  } catch (cause) {
    throw loadFailure(cause)
  }
  if (binding.abiVersion !== ABI_VERSION) {
    throw new SegSamError(
      'ADDON_MISSING',
      `The native addon reports contract version ${binding.abiVersion}; this package needs ${ABI_VERSION}. ` +
        'It was built from other sources: run `npm run build:native` again.',
    )
  }
  if (isMainThread) process.once('exit', () => binding.stop())
  binding.setErrorClass(SegSamError as new (code: string, message: string) => Error)
  return binding
}

/** What the addon reads from the environment when a thread that computes begins. */
function checkNiceness(value: string | undefined) {
  if (value === undefined || /^1?\d$/.test(value)) return
  throw unexpected('INVALID_ARGUMENT', 'SEG_SAM_NICE in the environment', value, 'a nice value from 0 to 19')
}

/** @internal */
export function loadFailure(cause: unknown): SegSamError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  const host = `${process.platform}-${process.arch}, Node ${process.versions.node}`
  if (/\b(lib)?(torch|c10)\w*\.(so|dylib|dll)\b/.test(reason)) {
    return new SegSamError(
      'LIBTORCH_MISSING',
      `The native addon is built, but libtorch cannot be loaded (${host}): ${firstLine(reason)}\n` +
        'Run `npm run libtorch` to fetch the pinned version, or set LIBTORCH to a folder that holds it, then `npm run build:native`.',
      { cause },
    )
  }
  return new SegSamError(
    'ADDON_MISSING',
    `The native addon cannot be loaded (${host}): ${firstLine(reason)}\n` +
      `Tried build/Release and prebuilds in ${packageRoot}.\n` +
      'Run `npm run build:native` (needs a C++ compiler and CMake); `npx seg-sam doctor` tells what is missing.',
    { cause },
  )
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text
}

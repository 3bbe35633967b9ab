import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'
import { Command } from 'commander'
import { type RuntimeInfo, runtimeInfo } from '../addon.js'
import { inspectBundle } from '../bundle.js'
import { SegSamError } from '../errors.js'
import { defaultBundle, libtorchScript, packageRoot, packageVersion } from '../package-root.js'
import { oneLine } from './failure.js'

interface Check {
  name: string
  /** `null`: could not be looked at, because of something above it. */
  ok: boolean | null
  detail: string
  /** What to do where `ok` is false. */
  remedy: string | null
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('Tell what seg-sam runs on, and what to do where something is missing. Exit code 1 then.')
    .option('--json', 'write JSON to stdout, and nothing else')
    .action(async ({ json }: { json?: true }) => {
      const { runtime, failure } = examineRuntime()
      const checks = [
        host(),
        addonCheck(runtime, failure),
        libtorchCheck(runtime, failure),
        ...hardwareChecks(runtime),
        await bundleCheck(),
      ]
      const ok = checks.every((check) => check.ok === true)
      process.stdout.write(
        `${json ? JSON.stringify({ schema: 1, version: packageVersion(), ok, checks, runtime }, null, 2) : report(checks)}\n`,
      )
      if (!ok) process.exitCode = 1
    })
}

function examineRuntime(): { runtime: RuntimeInfo | null; failure: SegSamError | null } {
  try {
    return { runtime: runtimeInfo(), failure: null }
  } catch (error) {
    if (error instanceof SegSamError) return { runtime: null, failure: error }
    throw error
  }
}

function host(): Check {
  const detail = `seg-sam ${packageVersion()}, Node ${process.versions.node}, ${process.platform}-${process.arch}`
  return { name: 'host', ok: true, detail, remedy: null }
}

function addonCheck(runtime: RuntimeInfo | null, failure: SegSamError | null): Check {
  const name = 'addon'
  if (runtime) return { name, ok: true, detail: 'loaded', remedy: null }
  if (failure?.code === 'LIBTORCH_MISSING') return { name, ok: true, detail: 'built', remedy: null }
  return {
    name,
    ok: false,
    detail: firstLine(failure!.message),
    remedy: `Run \`npm run build:native\` in ${packageRoot}, which needs a C++ compiler and CMake 3.22 or newer (Debian: apt install g++ cmake make).`,
  }
}

function libtorchCheck(runtime: RuntimeInfo | null, failure: SegSamError | null): Check {
  const name = 'libtorch'
  if (runtime)
    return { name, ok: true, detail: `${runtime.libtorch} at ${resolve(runtime.libtorchPath)}`, remedy: null }
  const search = spawnSync(process.execPath, [libtorchScript, '--check'], { encoding: 'utf8' })
  const found = search.status === 0 && failure?.code !== 'LIBTORCH_MISSING'
  if (found) return { name, ok: true, detail: lastLine(search.stdout).replace(/^libtorch: /, ''), remedy: null }
  return {
    name,
    ok: false,
    detail: failure?.code === 'LIBTORCH_MISSING' ? firstLine(failure.message) : 'not found on this machine',
    remedy: 'Run `npx seg-sam libtorch`, which fetches the pinned version, or set LIBTORCH to a folder that holds it.',
  }
}

const UNSEEN = { ok: null, detail: 'not known while the addon cannot be loaded', remedy: null }

function hardwareChecks(runtime: RuntimeInfo | null): Check[] {
  if (!runtime) return ['devices', 'threads', 'instruction sets'].map((name) => ({ name, ...UNSEEN }))
  const { cudaDevices, cudaError, threads, cpuCapability, bf16 } = runtime
  const cuda = cudaDevices.map(
    ({ index, name, kernelError }) =>
      `cuda:${index} (${name}${kernelError ? `; without kernels of this package, thus slower: ${oneLine(kernelError)}` : ''})`,
  )
  const devices = cuda.length ? ['cpu', ...cuda].join(', ') : `cpu; no CUDA device: ${oneLine(cudaError)}`
  const matrix = bf16 ? `bf16 in hardware (${bf16})` : 'no bf16 in hardware, so precision auto means fp32 on the CPU'
  return [
    { name: 'devices', ok: true, detail: devices, remedy: null },
    { name: 'threads', ok: true, detail: `${threads} (set OMP_NUM_THREADS to change it)`, remedy: null },
    { name: 'instruction sets', ok: true, detail: `${cpuCapability}, ${matrix}`, remedy: null },
  ]
}

async function bundleCheck(): Promise<Check> {
  const name = 'default bundle'
  const remedy = 'Install seg-sam again, or pass another bundle with --model.'
  try {
    const { manifest, classes, intact, directory } = await inspectBundle(defaultBundle)
    const detail = `${manifest.name} ${manifest.version}, ${classes.length} classes, at ${directory}`
    if (intact) return { name, ok: true, detail, remedy: null }
    return { name, ok: false, detail: `${detail}: files differ, see \`npx seg-sam inspect\``, remedy }
  } catch (error) {
    if (error instanceof SegSamError) return { name, ok: false, detail: oneLine(error.message), remedy }
    throw error
  }
}

/** What is wrong; the other lines of these messages are remedies. */
function firstLine(message: string): string {
  return message.split('\n', 1)[0]!
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)!
}

function report(checks: Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length))
  return checks
    .flatMap(({ name, ok, detail, remedy }) => {
      const mark = ok === null ? '?' : ok ? 'ok' : 'MISSING'
      const line = `${mark.padEnd(7)}  ${name.padEnd(width)}  ${detail}`
      return remedy ? [line, `${' '.repeat(9 + width)}  ${remedy}`] : [line]
    })
    .join('\n')
}

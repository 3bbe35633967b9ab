import { describe, expect, it } from 'vitest'
import { loadFailure, runtimeInfo } from '../lib/addon.js'
import { runProgram } from './run-program.js'

describe('an addon that cannot be loaded', () => {
  it('for want of libtorch says so, and how to get it', () => {
    const reasons = [
      'libtorch_cpu.so: cannot open shared object file: No such file or directory',
      "dlopen(/a/seg-sam.node, 0x0001): Library not loaded: @rpath/libc10.dylib\n  Referenced from: '/a/seg-sam.node'",
    ]
    for (const reason of reasons) {
      const error = loadFailure(new Error(reason))
      expect(error).toMatchObject({ name: 'SegSamError', code: 'LIBTORCH_MISSING' })
      expect(error.message).toContain(reason.split('\n')[0])
      expect(error.message).toContain('npm run libtorch')
    }
  })

  it('for another reason names what was tried and what to run', () => {
    const reasons = [
      'No native build was found for platform=linux arch=riscv64 runtime=node',
      '/home/me/libtorch-trials/build/Release/seg-sam.node: invalid ELF header',
      '/a/seg-sam.node: undefined symbol: _ZN5torch3jit4loadE',
    ]
    for (const reason of reasons) {
      const error = loadFailure(new Error(reason))
      expect(error.code).toBe('ADDON_MISSING')
      for (const part of [reason, 'build/Release', 'npm run build:native', process.platform]) {
        expect(error.message).toContain(part)
      }
    }
  })
})

it('runtimeInfo tells the version and place of libtorch', () => {
  const info = runtimeInfo()
  expect(info.libtorch).toMatch(/^\d+\.\d+/)
  expect(info.libtorchPath).toMatch(/torch/)
  expect(info.threads).toBeGreaterThan(0)
})

describe('threads that wait for the next operation', () => {
  const load = `const { runtimeInfo } = await import('./dist/addon.js')
runtimeInfo()
console.log(process.env.GOMP_SPINCOUNT)`
  const loaded = async (env: NodeJS.ProcessEnv) => {
    const { GOMP_SPINCOUNT: _, OMP_WAIT_POLICY: __, ...rest } = process.env
    const program = ['--input-type=module', '--eval', load]
    // libgomp prints its settings on stderr when it is loaded.
    const { code, stdout, stderr } = await runProgram(program, { env: { ...rest, OMP_DISPLAY_ENV: 'verbose', ...env } })
    expect(code, stderr).toBe(0)
    return { spins: /GOMP_SPINCOUNT = '(\w+)'/.exec(stderr)?.[1], after: stdout.trim() }
  }

  it.runIf(process.platform === 'linux')('spin for a moment, and child processes do not inherit that', async () => {
    expect(await loaded({})).toEqual({ spins: '2000', after: 'undefined' })
  })

  it.runIf(process.platform === 'linux')('do as the environment says', async () => {
    expect(await loaded({ GOMP_SPINCOUNT: '77' })).toEqual({ spins: '77', after: '77' })
    expect((await loaded({ OMP_WAIT_POLICY: 'passive' })).spins).toBe('0')
  })
})

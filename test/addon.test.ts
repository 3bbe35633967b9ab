import { describe, expect, it } from 'vitest'
import { loadFailure, runtimeInfo } from '../lib/addon.js'

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

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { PeerKind } from './peer-kinds.js'
import type { Size } from './size.js'

const folder = 'build/bench'

/** Builds the C++ program that runs a bundle without Node.js. The first time takes minutes. */
export function buildEngine(): void {
  for (const args of [
    ['-S', '.', '-B', folder, '-DSEG_SAM_BENCH=ON'],
    ['--build', folder, '--target', 'engine_bench', '--parallel', '2'],
  ]) {
    const { status } = spawnSync('cmake', args, { stdio: ['ignore', 'ignore', 'inherit'] })
    if (status !== 0) throw new Error(`cmake ${args.join(' ')} failed; run without the scenario overhead`)
  }
}

/** seg-sam's engine with a bundle, in the precision that the addon took. */
export function engineKind(size: Size, precision: string): PeerKind {
  const { text_width, semantic } = JSON.parse(readFileSync(join(size.bundle, 'manifest.json'), 'utf8'))
  const { classes } = JSON.parse(readFileSync(join(size.bundle, 'classes.json'), 'utf8'))
  const named = semantic === 'trained' ? classes.length : 0
  const numbers = [size.imageSize, size.maskSize, named, text_width].map(String)
  return {
    name: 'engine',
    about: 'the C++ engine with the same TorchScript, without Node.js',
    command: resolve(folder, 'bench/native/engine_bench'),
    args: [size.bundle, join(size.folder, 'image.rgb'), ...numbers, precision],
    env: {},
    reduced: false,
    supports: () => true,
    devices: ['cpu'],
    operations: ['encode', 'decode'],
  }
}

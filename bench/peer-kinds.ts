import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'
import type { Size } from './size.js'

/** One column of the tables. */
export interface PeerKind {
  name: string
  /** What it is, for the page. */
  about: string
  command: string
  args: string[]
  env: Record<string, string>
  /** Arithmetic differs from float32 on purpose: agreement is judged more mildly. */
  reduced: boolean
  supports(size: Size): boolean
  devices: readonly ('cpu' | 'cuda')[]
  /** What it is timed with. */
  operations: readonly string[]
}

export const SEG_SAM = 'seg-sam'
export const INT8 = 'seg-sam-int8'
export const ONNX = 'onnxruntime'
const BOTH = ['cpu', 'cuda'] as const
const ALL = ['encode', 'decode', 'click', 'encodeAndClick'] as const

interface Found {
  python: string | null
  /** The processor multiplies bf16 in hardware. */
  bf16: boolean
  /** And bytes. */
  int8: boolean
}

/** All peers that can run here. */
export function peerKinds({ python, bf16, int8 }: Found): PeerKind[] {
  const kinds: PeerKind[] = [
    node(SEG_SAM, 'this package, default precision', 'seg-sam', { reduced: bf16, devices: BOTH }),
    node('onnxruntime', 'onnxruntime-node, float32', 'onnxruntime', { supports: (size) => size.onnx }),
    node('onnxruntime-int8', 'onnxruntime-node, encoder dynamically quantised to 8 bits', 'onnxruntime', {
      env: { BENCH_VARIANT: 'int8' },
      supports: (size) => size.onnx,
      operations: ['encode', 'click', 'encodeAndClick'],
      reduced: true,
    }),
    node('transformers.js', '@huggingface/transformers, float32', 'transformers-js', {
      supports: (size) => size.onnx && size.huggingFace,
    }),
  ]
  if (bf16)
    kinds.splice(
      1,
      0,
      node('seg-sam-fp32', 'this package, float32', 'seg-sam', { env: { BENCH_PRECISION: 'fp32' }, devices: BOTH }),
    )
  if (int8) {
    const env = { BENCH_PRECISION: 'int8' }
    kinds.splice(2, 0, node(INT8, 'this package, encoder in 8 bits', 'seg-sam', { env, reduced: true }))
  }
  if (python) kinds.push(...pythonKinds(python, bf16))
  return kinds
}

function node(name: string, about: string, file: string, rest: Partial<PeerKind>): PeerKind {
  return {
    name,
    about,
    command: process.execPath,
    args: [resolve('bench/dist/peers', `${file}.js`)],
    env: {},
    reduced: false,
    supports: () => true,
    devices: ['cpu'],
    operations: ALL,
    ...rest,
  }
}

function pythonKinds(python: string, bf16: boolean): PeerKind[] {
  const kind = (name: string, about: string, mode: string, rest: Partial<PeerKind>): PeerKind => ({
    name,
    about,
    command: python,
    args: ['-W', 'ignore', resolve('models/peers/serve.py'), mode],
    env: { PYTHONDONTWRITEBYTECODE: '1' },
    reduced: false,
    supports: (size) => size.checkedPrompts > 0,
    devices: BOTH,
    operations: ALL,
    ...rest,
  })
  const kinds = [
    kind('pytorch', 'PyTorch, eager: Hugging Face SamModel (tiny: our module), float32', 'eager', {}),
    kind('torch.compile', 'the same with a compiled encoder, float32', 'compile', { operations: ['encode'] }),
  ]
  if (bf16) {
    kinds.push(
      kind('pytorch-bf16', 'PyTorch, eager, in bf16 (the decoder by autocast)', 'eager-bf16', {
        reduced: true,
        devices: ['cuda'],
      }),
      kind('torch.compile-bf16', 'the same in bf16', 'compile-bf16', { operations: ['encode'], reduced: true }),
    )
  }
  return kinds
}

/** A Python that has torch: `BENCH_PYTHON`, `.venv`, or `python3`. */
export function findPython(): string | null {
  const candidates = [process.env.BENCH_PYTHON, '.venv/bin/python', 'python3'].filter((path) => path !== undefined)
  return candidates.find((path) => spawnSync(path, ['-c', 'import torch, numpy']).status === 0) ?? null
}

import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os'
import { Child } from './child.js'
import type { PeerKind } from './peer-kinds.js'
import type { Machine } from './results.js'

/** Instruction sets that decide how fast matrices are multiplied. */
const FLAGS = [
  'avx2',
  'fma',
  'f16c',
  'avx512f',
  'avx512_vnni',
  'avx_vnni',
  'avx512_bf16',
  'amx_tile',
  'amx_bf16',
  'amx_int8',
]

/** @param pytorch measures the rates, where there is one */
export async function describeMachine(pytorch: PeerKind | undefined): Promise<Machine> {
  const load = loadavg()[0]!
  let rates: Machine['rates'] = null
  if (pytorch) {
    const child = new Child(pytorch)
    rates = (await child.ask('machine')) as unknown as Machine['rates']
    await child.end()
  }
  const present = new Set(/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.trim().split(/\s+/))
  return {
    cpu: cpus()[0]!.model.trim(),
    cores: availableParallelism(),
    memory: totalmem(),
    flags: FLAGS.filter((flag) => present.has(flag)),
    node: process.version,
    rates,
    load,
  }
}

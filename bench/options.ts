import { parseArgs } from 'node:util'
import { FIXTURE } from './size.js'

export const SCENARIOS = [
  'encode',
  'decode',
  'click',
  'throughput',
  'overhead',
  'callers',
  'start-up',
  'memory',
] as const
export type Scenario = (typeof SCENARIOS)[number]
export const SIZES = ['tiny-256', 'vit_b-256', 'vit_b-512', 'vit_b-1024'] as const

export interface Options {
  only: readonly Scenario[]
  sizes: readonly string[]
  /** Names of peers, `null`: all that run here. */
  peers: readonly string[] | null
  quick: boolean
  device: 'cpu' | 'cuda'
  /** Keeps what an earlier run found. */
  join: boolean
  /** Numbers of prompts that are decoded at once. */
  prompts: readonly number[]
  /** Folder of the results. */
  out: string
  /** Page whose tables are written anew. */
  doc: string | null
  cache: string
  /** Seconds that the repetitions of one scenario may take, beyond the least number of them. */
  budget: number
  /** Repetitions at least. */
  least: number
  requests: number
}

export const USAGE = `npm run bench -- [options]
  --only LIST      of ${SCENARIOS.join(', ')}
  --sizes LIST     of ${SIZES.join(', ')}, ${FIXTURE} (default: all but ${FIXTURE})
  --peers LIST     seg-sam is always among them (default: all that run here)
  --device NAME    cpu or cuda, where this package and PyTorch alone are measured (default: cpu)
  --quick          two repetitions each, few requests: to see that everything works, not to measure
  --out FOLDER     for results.json and results.svg (default: bench/cache/results)
  --join           keeps what an earlier run in that folder found of other scenarios, sizes and peers, if the machine and
                   the date are the same: a long measurement in parts
  --prompts LIST   prompts decoded at once (default: 1,16,64,256)
  --doc FILE       rewrites the tables of docs/performance.md, or docs/performance-gpu.md
  --budget S       seconds for the repetitions of one scenario of one size (default: 60)
  --least N        repetitions of each measurement at least (default: 7)
  --requests N     decodes in the scenario memory (default: 10000)
  --no-install     does not install the peers`

/** @throws Error that names the option */
export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      sizes: { type: 'string' },
      peers: { type: 'string' },
      device: { type: 'string', default: 'cpu' },
      quick: { type: 'boolean', default: false },
      out: { type: 'string', default: 'bench/cache/results' },
      join: { type: 'boolean', default: false },
      prompts: { type: 'string' },
      doc: { type: 'string' },
      budget: { type: 'string', default: '60' },
      least: { type: 'string', default: '7' },
      requests: { type: 'string' },
      'no-install': { type: 'boolean' },
    },
  })
  const { device, quick } = values
  if (device !== 'cpu' && device !== 'cuda') throw new Error(`--device is cpu or cuda, not ${device}`)
  return {
    only: listed('only', values.only, SCENARIOS),
    sizes: listed('sizes', values.sizes, [...SIZES, FIXTURE], SIZES),
    peers: values.peers?.split(',') ?? null,
    device,
    quick,
    join: values.join,
    prompts:
      values.prompts?.split(',').map((count) => positive('prompts', count)) ?? (quick ? [1, 16] : [1, 16, 64, 256]),
    out: values.out,
    doc: values.doc ?? null,
    cache: 'bench/cache',
    least: quick ? 2 : positive('least', values.least),
    budget: quick ? 0 : positive('budget', values.budget),
    requests: positive('requests', values.requests ?? (quick ? '50' : '10000')),
  }
}

function listed<T extends string>(
  name: string,
  text: string | undefined,
  allowed: readonly T[],
  byDefault = allowed,
): readonly T[] {
  if (text === undefined) return byDefault
  const names = text.split(',')
  const unknown = names.find((entry) => !(allowed as readonly string[]).includes(entry))
  if (unknown !== undefined) throw new Error(`--${name}: ${unknown} is none of ${allowed.join(', ')}`)
  return names as T[]
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (Number.isFinite(value) && value > 0) return value
  throw new Error(`--${name} takes a number above 0, not ${text}`)
}

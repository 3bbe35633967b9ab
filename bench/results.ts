import type { Agreement } from './agreement.js'

/** One figure: a peer in a scenario with one size. */
export interface Row {
  scenario: string
  size: string
  peer: string
  unit: 'ms' | 'requests/s' | 'MB' | 'ratio'
  values: number[]
  /** Arithmetic that the result needs. */
  flops?: number
  /** The arithmetic is bf16, or 8-bit, on purpose. */
  bf16?: boolean
}

export interface Checked {
  size: string
  peer: string
  /** `null`: there is nothing stored to compare with, or the peer has failed. */
  agreement: Agreement | null
  /** Why it is not timed, `null` where it is. */
  failure: string | null
}

export interface Machine {
  cpu: string
  cores: number
  memory: number
  flags: string[]
  node: string
  /** Measured, `null` without a Python that has torch. */
  rates: { fp32Flops: number; bf16Flops: number | null; copyBytes: number; threads: number } | null
  /** Load of the system when the run began. */
  load: number
}

export interface Results {
  schema: 1
  date: string
  quick: boolean
  machine: Machine
  /** What each peer says of itself once it has loaded. */
  loaded: Record<string, Record<string, string>>
  /** What each peer is. */
  peers: Record<string, string>
  checked: Checked[]
  /** Bytes of the parameters in float32, by size. */
  weights: Record<string, number>
  rows: Row[]
  notes: string[]
}

/** `undefined` where it was not measured. */
export function rowOf({ rows }: Pick<Results, 'rows'>, scenario: string, size: string, peer: string): Row | undefined {
  return rows.find((row) => row.scenario === scenario && row.size === size && row.peer === peer)
}

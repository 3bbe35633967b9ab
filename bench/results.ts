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
  rates: {
    fp32Flops: number
    bf16Flops: number | null
    copyBytes: number
    threads: number
    /** What was measured where that is no processor. */
    gpu?: string | null
  } | null
  /** Load of the system when the run began. */
  load: number
}

export interface Results {
  schema: 1
  date: string
  quick: boolean
  device: 'cpu' | 'cuda'
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

/**
 * The results of `now` and what `before` found besides.
 *
 * @throws Error where they are of different machines or days, which cannot be compared
 */
export function joined(before: Results, now: Results): Results {
  const of = ({ schema, date, quick, device, machine }: Results) =>
    [`schema ${schema}`, date, quick ? 'quick' : 'measured', device, machine.cpu, machine.node].join(', ')
  if (of(before) !== of(now)) throw new Error(`--join: the earlier results are of ${of(before)}, these of ${of(now)}`)
  const isNew = (one: { size: string; peer: string }) =>
    now.checked.some(({ size, peer }) => size === one.size && peer === one.peer)
  return {
    ...now,
    machine: { ...now.machine, rates: now.machine.rates ?? before.machine.rates },
    loaded: { ...before.loaded, ...now.loaded },
    peers: { ...before.peers, ...now.peers },
    weights: { ...before.weights, ...now.weights },
    checked: [...before.checked.filter((one) => !isNew(one)), ...now.checked],
    rows: [...before.rows.filter(({ scenario, size, peer }) => !rowOf(now, scenario, size, peer)), ...now.rows],
    notes: [...new Set([...before.notes, ...now.notes])],
  }
}

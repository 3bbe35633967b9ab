import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { bundle } from './fixture.js'
import { runProgram } from './run-program.js'

/** Prints the nice value and the policy of each thread before a model is loaded, and after it has encoded. */
const program = `
  import { readdirSync, readFileSync } from 'node:fs'
  const { SegSam } = await import(${JSON.stringify(pathToFileURL('dist/index.js').href)})
  const priorityOf = (id) => {
    const fields = readFileSync('/proc/self/task/' + id + '/stat', 'utf8').split(') ')[1].split(' ')
    return { id: Number(id), nice: Number(fields[16]), policy: Number(fields[38]) }
  }
  const priorities = () => readdirSync('/proc/self/task').map(priorityOf)
  const before = priorities()
  const model = await SegSam.load(${JSON.stringify(bundle)}, { device: 'cpu' })
  await model.encode({ data: new Uint8Array(64 * 64 * 3), width: 64, height: 64, channels: 3 })
  console.log(JSON.stringify({ before, after: priorities() }))
`

/** sched(7). */
const OTHER = 0
const BATCH = 3

interface Thread {
  id: number
  nice: number
  policy: number
}

/** With a thread of OpenMP beside the one that runs jobs. */
const run = (nice?: string) =>
  runProgram(['--input-type=module', '-e', program], {
    env: { ...process.env, OMP_NUM_THREADS: '2', ...(nice && { SEG_SAM_NICE: nice }) },
  })

async function threads(nice?: string) {
  const { before, after } = JSON.parse((await run(nice)).stdout) as { before: Thread[]; after: Thread[] }
  const computing = after.filter(({ policy }) => policy === BATCH)
  return { before, after, computing }
}

describe.skipIf(process.platform !== 'linux')('threads that compute', () => {
  it('preempt nobody, those of OpenMP included, and those of Node.js are as they were', async () => {
    const { before, after, computing } = await threads()
    expect(before.every(({ policy }) => policy === OTHER)).toBe(true)
    expect(after).toEqual(expect.arrayContaining(before))
    expect(computing.length).toBeGreaterThanOrEqual(2)
    expect(new Set(after.map(({ nice }) => nice)).size).toBe(1)
  })

  it('have the nice value of SEG_SAM_NICE', async () => {
    const { before, after, computing } = await threads('19')
    expect(after).toEqual(expect.arrayContaining(before))
    expect(computing.length).toBeGreaterThanOrEqual(2)
    expect(computing.every(({ nice }) => nice === 19)).toBe(true)
  })
})

describe.skipIf(process.platform !== 'linux')('SEG_SAM_NICE', () => {
  it('is refused where it is no nice value', async () => {
    for (const value of ['-1', '20', 'low']) {
      const { code, stderr } = await run(value)
      expect(code).not.toBe(0)
      expect(stderr).toContain('SEG_SAM_NICE')
      expect(stderr).toContain('INVALID_ARGUMENT')
    }
  })
})

import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { bundle } from './fixture.js'
import { runProgram } from './run-program.js'

/** Encodes once, then prints the nice value and the policy of each thread, the main one first. */
const program = `
  import { readdirSync, readFileSync } from 'node:fs'
  const { SegSam } = await import(${JSON.stringify(pathToFileURL('dist/index.js').href)})
  const model = await SegSam.load(${JSON.stringify(bundle)}, { device: 'cpu' })
  await model.encode({ data: new Uint8Array(64 * 64 * 3), width: 64, height: 64, channels: 3 })
  const threads = [process.pid, ...readdirSync('/proc/self/task').map(Number).filter((id) => id !== process.pid)]
  const priorityOf = (id) => {
    const fields = readFileSync('/proc/self/task/' + id + '/stat', 'utf8').split(') ')[1].split(' ')
    return { nice: Number(fields[16]), policy: Number(fields[38]) }
  }
  console.log(JSON.stringify(threads.map(priorityOf)))
`

/** sched(7). */
const OTHER = 0
const BATCH = 3

interface Priority {
  nice: number
  policy: number
}

const run = (nice?: string) =>
  runProgram(['--input-type=module', '-e', program], { env: { ...process.env, ...(nice && { SEG_SAM_NICE: nice }) } })

describe.skipIf(process.platform !== 'linux')('threads that compute', () => {
  it('take no core from one that runs, and have the nice value of SEG_SAM_NICE; that of JavaScript is as it was', async () => {
    const [main, ...others] = JSON.parse((await run()).stdout) as [Priority, ...Priority[]]
    expect(main.policy).toBe(OTHER)
    expect(others.filter(({ policy }) => policy === BATCH).length).toBeGreaterThan(0)
    expect(others.every(({ nice }) => nice === main.nice)).toBe(true)

    const lowered = { nice: 19, policy: BATCH }
    const [mainThen, ...othersThen] = JSON.parse((await run('19')).stdout) as [Priority, ...Priority[]]
    expect(mainThen).toEqual(main)
    expect(othersThen).toContainEqual(lowered)
  })

  it('are refused a SEG_SAM_NICE that is no nice value', async () => {
    for (const value of ['-1', '20', 'low']) {
      const { code, stderr } = await run(value)
      expect(code).not.toBe(0)
      expect(stderr).toContain('SEG_SAM_NICE')
      expect(stderr).toContain('INVALID_ARGUMENT')
    }
  })
})

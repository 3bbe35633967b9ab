import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { bundle } from './fixture.js'
import { runProgram } from './run-program.js'

/** Encodes once, then prints the nice value of each thread, the main one first. */
const program = `
  import { readdirSync, readFileSync } from 'node:fs'
  const { SegSam } = await import(${JSON.stringify(pathToFileURL('dist/index.js').href)})
  const model = await SegSam.load(${JSON.stringify(bundle)}, { device: 'cpu' })
  await model.encode({ data: new Uint8Array(64 * 64 * 3), width: 64, height: 64, channels: 3 })
  const threads = [process.pid, ...readdirSync('/proc/self/task').map(Number).filter((id) => id !== process.pid)]
  const niceOf = (id) => Number(readFileSync('/proc/self/task/' + id + '/stat', 'utf8').split(') ')[1].split(' ')[16])
  console.log(JSON.stringify(threads.map(niceOf)))
`

const run = (nice?: string) =>
  runProgram(['--input-type=module', '-e', program], { env: { ...process.env, ...(nice && { SEG_SAM_NICE: nice }) } })

describe.skipIf(process.platform !== 'linux')('SEG_SAM_NICE', () => {
  it('is the nice value of threads that compute, and not of JavaScript', async () => {
    const [main, ...others] = JSON.parse((await run()).stdout) as number[]
    expect(others.every((nice) => nice === main)).toBe(true)
    const lowered = 19
    const [mainThen, ...othersThen] = JSON.parse((await run(String(lowered))).stdout) as number[]
    expect(mainThen).toBe(main)
    expect(othersThen.filter((nice) => nice === lowered).length).toBeGreaterThan(0)
  })

  it('is refused where it is no nice value', async () => {
    for (const value of ['-1', '20', 'low']) {
      const { code, stderr } = await run(value)
      expect(code).not.toBe(0)
      expect(stderr).toContain('SEG_SAM_NICE')
      expect(stderr).toContain('INVALID_ARGUMENT')
    }
  })
})

import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { bundle } from './fixture.js'
import { runProgram } from './run-program.js'

/** In a process that has more cores than the one of the tests. */
function run(name: string, cores: number) {
  const program = fileURLToPath(new URL(`worker/${name}`, import.meta.url))
  return runProgram([program, bundle], { env: { ...process.env, OMP_NUM_THREADS: String(cores) } })
}

it('calls that wait run at the same time, one a core, and give what they give one after the other', async () => {
  for (const cores of [1, 2]) {
    const { code, stdout, stderr } = await run('side-by-side.mjs', cores)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const { threads, mostOfMany, mostOfOne, differences } = JSON.parse(stdout)
    expect([mostOfMany, mostOfOne]).toEqual([threads, 1])
    expect(differences).toHaveLength(30)
    for (const { iou, ids, pixels } of differences) {
      expect(iou).toBeLessThan(1e-4)
      expect(ids).toEqual([])
      expect(pixels).toBeLessThanOrEqual(4)
    }
  }
})

it('a process can exit while calls run and more wait', async () => {
  for (const cores of [1, 2, 2, 2]) {
    expect(await run('exit.mjs', cores)).toEqual({ code: 3, stdout: '', stderr: '' })
  }
})

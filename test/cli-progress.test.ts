import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Progress } from '../lib/cli/progress.js'

const { isTTY } = process.stderr
let shown: string

beforeEach(() => {
  shown = ''
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    shown += text
    return true
  })
})
afterEach(() => {
  vi.restoreAllMocks()
  process.stderr.isTTY = isTTY
})

it('on a terminal one line tells what is being done, and is gone afterwards, also where a step fails', async () => {
  process.stderr.isTTY = true
  await new Progress().step('encode', async () => expect(shown).toMatch(/encode \.\.\.$/))
  expect(shown.endsWith('\r\u001b[K')).toBe(true)
  await expect(new Progress().step('load', () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  expect(shown.endsWith('\r\u001b[K')).toBe(true)
  expect(shown).not.toContain('\n')
})

it('elsewhere nothing is shown; the seconds of each step are kept in their order', async () => {
  process.stderr.isTTY = false
  const progress = new Progress()
  expect(await progress.step('read', async () => 7)).toBe(7)
  await progress.step('load', async () => {})
  expect(shown).toBe('')
  expect(Object.keys(progress.seconds)).toEqual(['read', 'load'])
  expect(progress.seconds.read).toBeGreaterThanOrEqual(0)
})

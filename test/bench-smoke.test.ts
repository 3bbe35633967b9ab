import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Results } from '../bench/results.js'

test('npm run bench measures the bundle of the tests without peers, and writes the page', { timeout: 900_000 }, () => {
  const out = mkdtempSync(join(tmpdir(), 'seg-sam-bench-'))
  onTestFinished(() => rmSync(out, { recursive: true }))
  const page = join(out, 'performance.md')
  writeFileSync(page, readFileSync('docs/performance.md'))
  const options = ['--no-install', '--quick', '--sizes', 'fixture', '--peers', 'seg-sam', '--out', out, '--doc', page]
  const { status, stdout, stderr } = spawnSync(process.execPath, ['bench/start.mjs', ...options], { encoding: 'utf8' })
  expect(stderr).toBe('')
  expect(status, stdout).toBe(0)

  const { rows, checked } = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')) as Results
  expect(checked).toEqual([{ size: 'fixture', peer: 'seg-sam', agreement: null, failure: null }])
  const scenarios = rows.map(({ scenario }) => scenario)
  for (const scenario of [
    'encode',
    'decode 16',
    'click to mask',
    'start-up: library',
    '8 callers',
    'memory: at rest',
  ]) {
    expect(scenarios).toContain(scenario)
  }
  for (const { scenario, values } of rows) {
    expect(values.length, scenario).toBeGreaterThan(0)
    for (const value of values) expect(value, scenario).toBeGreaterThanOrEqual(0)
  }
  const written = readFileSync(page, 'utf8')
  expect(written).toMatch(/\| fixture +\| encode +\| seg-sam/)
  expect(written).toContain('(performance.svg)')
  expect(readFileSync(join(out, 'performance.svg'), 'utf8')).toMatch(/^<svg/)
})

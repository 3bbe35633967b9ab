import { defineConfig } from 'vitest/config'

/** The addon keeps one state a process: every file gets a process of its own, and each of them one core. */
const shared = { pool: 'forks', env: { OMP_NUM_THREADS: '1' }, testTimeout: 120_000, hookTimeout: 120_000 } as const

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...shared,
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/leak/**'],
          typecheck: { enabled: true, include: ['test/**/*.test-d.ts'] },
        },
      },
      { test: { ...shared, name: 'leak', include: ['test/leak/**/*.test.ts'], execArgv: ['--expose-gc'] } },
    ],
  },
})

/** One line that tells what is being done, on a terminal only and on stderr, gone when the work is done. */
export class Progress {
  readonly #seconds: Record<string, number> = {}

  /** Does a step under its name, and keeps how long it took. */
  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const start = performance.now()
    this.show(`${name} ...`)
    try {
      return await work()
    } finally {
      this.#seconds[name] = Number(((performance.now() - start) / 1000).toFixed(3))
      this.show('')
    }
  }

  /** Seconds that each step took, in the order of the steps. */
  get seconds(): Record<string, number> {
    return { ...this.#seconds }
  }

  /** Replaces the line; an empty text removes it. */
  show(text: string): void {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`)
  }
}

/** Twenty characters, filled to a share of 0 to 1. */
export function bar(share: number): string {
  return `[${'#'.repeat(Math.floor(20 * share)).padEnd(20, '.')}]`
}

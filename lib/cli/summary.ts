import type { ModelInfo } from '../model.js'

/** The first line of a report: what was looked at, with what. */
export function subject(
  image: { path: string; width: number; height: number },
  { name, version, device, precision }: ModelInfo,
): string {
  return `${image.path}, ${image.width} x ${image.height}, with ${name} ${version} on ${device} (${precision})`
}

/** The last line of a report: how long each step took. */
export function timings(seconds: Record<string, number>): string {
  return Object.entries(seconds)
    .map(([step, time]) => `${step} ${time.toFixed(2)} s`)
    .join(', ')
}

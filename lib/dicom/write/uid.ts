import { randomUUID } from 'node:crypto'

/** A new UID: a random UUID as a whole number under 2.25 (PS3.5 B.2). */
export function newUid(): string {
  return `2.25.${BigInt(`0x${randomUUID().replaceAll('-', '')}`)}`
}

/**
 * Reads mutants of the files of a folder, and tells on stdout, as JSON, how that went.
 *
 *     node read-mutated.mjs FOLDER COUNT SEED
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { uniformInt } from 'pure-rand/distribution/uniformInt'
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus'
import { readImage, readVolume, SegSamError } from '../../dist/index.js'

const [folder, count, seed] = process.argv.slice(2)
const files = readdirSync(folder)
  .sort()
  .map((name) => ({ name, content: readFileSync(join(folder, name)) }))
const generator = xoroshiro128plus(Number(seed))
const below = (n) => uniformInt(generator, 0, n - 1)

/** Some bytes changed, mostly near the beginning, where headers are; or a piece cut out, doubled, or the end cut off. */
function mutant(content) {
  const kind = below(8)
  const at = below(2) === 0 ? below(Math.min(content.length, 1200)) : below(content.length)
  const length = 1 + below(64)
  if (kind === 0) return content.subarray(0, at)
  if (kind === 1) return Buffer.concat([content.subarray(0, at), content.subarray(at + length)])
  if (kind === 2) return Buffer.concat([content.subarray(0, at + length), content.subarray(at)])
  const changed = Buffer.from(content)
  for (let n = 1 + below(6); n > 0; n--) {
    const place = below(2) === 0 ? below(Math.min(content.length, 1200)) : below(content.length)
    changed[place] = [0, 0xff, 0x7f, 0x80, below(256), changed[place] ^ (1 << below(8))][below(6)]
  }
  return changed
}

const result = { read: 0, errors: {}, strange: [], slowest: { name: '', seconds: 0 }, megabytes: 0 }
for (let i = 0; i < Number(count); i++) {
  const { name, content } = files[i % files.length]
  const bytes = mutant(content)
  const start = performance.now()
  for (const read of [readVolume, readImage]) {
    try {
      await read(bytes)
      result.read++
    } catch (error) {
      if (error instanceof SegSamError) {
        result.errors[error.code] = (result.errors[error.code] ?? 0) + 1
        if (/Secret/.test(`${error.message}${error.cause}`)) result.strange.push(`${name} ${i}: ${error.message}`)
      } else result.strange.push(`${name} ${i}: ${error?.stack ?? error}`)
    }
  }
  const seconds = (performance.now() - start) / 1000
  if (seconds > result.slowest.seconds) result.slowest = { name, seconds }
}
result.megabytes = process.resourceUsage().maxRSS / 1024
process.stdout.write(JSON.stringify(result))

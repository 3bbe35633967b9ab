import type { Bench } from '../bench.js'
import type { Size } from '../size.js'

/** Encode, decode and click of one size: all peers at once, in turn, after their outputs were compared. */
export async function single(bench: Bench, size: Size): Promise<void> {
  let children = await bench.start(size)
  children = await bench.check(size, children)
  const able = (operation: string) => children.filter(({ kind }) => kind.operations.includes(operation))
  try {
    if (bench.wants('encode')) await bench.time('encode', size, able('encode'), 'encode')
    if (bench.wants('decode')) {
      for (const child of able('encode')) await child.ask('encode')
      for (const prompts of bench.options.prompts) {
        await bench.time(`decode ${prompts}`, size, able('decode'), 'decode', { prompts })
      }
    }
    if (bench.wants('click')) {
      for (const child of able('click')) await child.ask('encodeOriginal')
      await bench.time('click to mask', size, able('click'), 'click')
      await bench.time('image to mask', size, able('click'), 'encodeAndClick')
    }
  } finally {
    await Promise.all(children.map((child) => child.end()))
  }
}

import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { Command, Font } from 'opentype.js'

const FONT = '@fontsource/atkinson-hyperlegible/files/atkinson-hyperlegible-latin-700-normal.woff'

/** Text of a font that is part of the package: a machine without fonts, as most servers are, shows an SVG `<text>` as boxes. */
export class Lettering {
  readonly #font: Font

  constructor(font: Font) {
    this.#font = font
  }

  /** Text as outlines: an SVG path with its baseline's left end at (x, baseline), `size` pixels to the em. */
  path(text: string, x: number, baseline: number, size: number): string {
    return this.#font.getPath(text, x, baseline, size).commands.map(pathData).join('')
  }

  /** Width of a line of text in pixels. */
  width(text: string, size: number): number {
    return this.#font.getAdvanceWidth(text, size)
  }

  /** The font has every character of the text (it covers Western European languages). */
  canWrite(text: string): boolean {
    return [...text].every((character) => this.#font.hasChar(character))
  }
}

let loaded: Promise<Lettering> | undefined

/** Reads the font once; rejects where it cannot be read, and tries again in the next call. */
export function loadLettering(): Promise<Lettering> {
  loaded ??= readFont().catch((cause) => {
    loaded = undefined
    throw cause
  })
  return loaded
}

async function readFont(): Promise<Lettering> {
  const { default: opentype } = await import('opentype.js')
  const file = await readFile(createRequire(import.meta.url).resolve(FONT))
  return new Lettering(
    opentype.parse(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength) as ArrayBuffer),
  )
}

/** Written here because opentype.js 2.0 rounds some coordinates to NaN in its own `toPathData`. */
function pathData(command: Command): string {
  const at = (...coordinates: number[]) => command.type + coordinates.map((value) => value.toFixed(2)).join(' ')
  switch (command.type) {
    case 'M':
    case 'L':
      return at(command.x, command.y)
    case 'Q':
      return at(command.x1, command.y1, command.x, command.y)
    case 'C':
      return at(command.x1, command.y1, command.x2, command.y2, command.x, command.y)
    case 'Z':
      return 'Z'
  }
}

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import opentype, { type Command, type Font } from 'opentype.js'

const FONT = '@fontsource/atkinson-hyperlegible/files/atkinson-hyperlegible-latin-700-normal.woff'

let loaded: Font | undefined

/**
 * Text as outlines: an SVG path with its baseline's left end at (x, baseline), `size` pixels to the em.
 * Outlines, because an SVG `<text>` shows nothing but boxes on a machine without fonts, as most servers are.
 */
export function lettering(text: string, x: number, baseline: number, size: number): string {
  return font().getPath(text, x, baseline, size).commands.map(pathData).join('')
}

/** Width of a line of text in pixels. */
export function textWidth(text: string, size: number): number {
  return font().getAdvanceWidth(text, size)
}

/** The font has every character of the text (it covers Western European languages). */
export function canWrite(text: string): boolean {
  return [...text].every((character) => font().hasChar(character))
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

function font(): Font {
  if (!loaded) {
    const file = readFileSync(createRequire(import.meta.url).resolve(FONT))
    loaded = opentype.parse(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength) as ArrayBuffer)
  }
  return loaded
}

/** The part of opentype.js 2 that the overlay uses; the package ships no types. */
declare module 'opentype.js' {
  interface Font {
    hasChar(character: string): boolean
    getAdvanceWidth(text: string, fontSize: number): number
    getPath(text: string, x: number, baseline: number, fontSize: number): { commands: Command[] }
  }
  type Command =
    | { type: 'M' | 'L'; x: number; y: number }
    | { type: 'Q'; x1: number; y1: number; x: number; y: number }
    | { type: 'C'; x1: number; y1: number; x2: number; y2: number; x: number; y: number }
    | { type: 'Z' }
  const opentype: { parse(file: ArrayBuffer): Font }
  export default opentype
  export type { Command, Font }
}

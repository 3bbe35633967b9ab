/** Of `#RRGGBB`, each 0 to 255. */
export function rgbOf(colour: string): [number, number, number] {
  return [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16)) as [number, number, number]
}

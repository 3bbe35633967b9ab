/** Red, green and blue, 0 to 255, of `#RRGGBB`. */
export function rgbOf(colour: string): [number, number, number] {
  const number = Number.parseInt(colour.slice(1), 16)
  return [number >> 16, (number >> 8) & 255, number & 255]
}

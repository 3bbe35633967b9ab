/** Of what no class claims. */
const UNKNOWN_COLOUR = '#9A9A9A'

/** As far around the colour wheel as keeps neighbours apart, however many there are; the lightness tells the rest. */
const GOLDEN_ANGLE = 180 * (3 - Math.sqrt(5))
const LIGHTNESS = [0.6, 0.75, 0.45, 0.85]

/**
 * A colour for the value of a class, `#RRGGBB`: always the same, and unlike those of the values beside it.
 *
 * @param isUnknown the value is that of `unknown`, which is gray
 */
export function classColour(value: number, isUnknown: boolean): string {
  if (isUnknown) return UNKNOWN_COLOUR
  return hexOf((value * GOLDEN_ANGLE) % 360, 0.8, LIGHTNESS[value % LIGHTNESS.length]!)
}

/** HSL to RGB, as in CSS Color Module Level 4, section 7.1. */
function hexOf(hue: number, saturation: number, lightness: number): string {
  const channel = (n: number) => {
    const k = (n + hue / 30) % 12
    const value = lightness - saturation * Math.min(lightness, 1 - lightness) * Math.max(-1, Math.min(k - 3, 9 - k, 1))
    return Math.round(255 * value)
      .toString(16)
      .padStart(2, '0')
  }
  return `#${channel(0)}${channel(8)}${channel(4)}`.toUpperCase()
}

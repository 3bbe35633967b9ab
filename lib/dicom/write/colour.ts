import { rgbOf } from '../../colour.js'

/** sRGB to XYZ at the white point D50, adapted by Bradford's matrix, as ICC profiles have it (ICC.1, annex E). */
const TO_XYZ = [
  [0.4360747, 0.3850649, 0.1430804],
  [0.2225045, 0.7168786, 0.0606169],
  [0.0139322, 0.0971045, 0.7141733],
] as const
const WHITE = [0.96422, 1, 0.82521] as const

/**
 * A colour as DICOM codes CIELab (PS3.3 C.10.7.1.1): L* of 0 to 100, a* and b* of -128 to 127, each as 0 to 65535. dcmjs
 * has the white point D65 instead, where the standard wants that of ICC profiles.
 */
export function dicomLab(colour: string): [number, number, number] {
  const linear = rgbOf(colour).map((value) => {
    const share = value / 255
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  })
  const [x, y, z] = TO_XYZ.map((row, i) => {
    const share = row.reduce((sum, weight, j) => sum + weight * linear[j]!, 0) / WHITE[i]!
    return share > (6 / 29) ** 3 ? Math.cbrt(share) : share / (3 * (6 / 29) ** 2) + 4 / 29
  }) as [number, number, number]
  const coded = (share: number) => Math.min(65535, Math.max(0, Math.round(65535 * share)))
  const [lightness, a, b] = [116 * y - 16, 500 * (x - y), 200 * (y - z)]
  return [coded(lightness / 100), coded((a + 128) / 255), coded((b + 128) / 255)]
}

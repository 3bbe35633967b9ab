/** A number as a Decimal String, which has room for 16 characters (PS3.5 6.2). */
export function decimal(value: number): string {
  let text = String(value)
  for (let digits = 15; text.length > 16; digits--) text = String(Number(value.toPrecision(digits)))
  return text
}

/**
 * One value of a text attribute: a backslash would begin another. What is too long is cut and ends in three dots; an
 * ellipsis would count as three in programs that count bytes.
 */
export function text(value: string, most: number): string {
  const plain = oneValue(value)
  const letters = [...plain]
  return letters.length <= most ? plain : `${letters.slice(0, most - 3).join('')}...`
}

/** Whether {@link text} cuts it. */
export function isCut(value: string, most: number): boolean {
  return [...oneValue(value)].length > most
}

function oneValue(value: string): string {
  return value
    .replaceAll('\\', '/')
    .replaceAll(/\p{Cc}+/gu, ' ')
    .trim()
}

/** Date and time of now, where this computer is. */
export function dateAndTime(now: Date): { date: string; time: string } {
  const two = (number: number) => String(number).padStart(2, '0')
  return {
    date: `${String(now.getFullYear()).padStart(4, '0')}${two(now.getMonth() + 1)}${two(now.getDate())}`,
    time: `${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}`,
  }
}

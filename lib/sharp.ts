import type sharp from 'sharp'

/** sharp, loaded when the first picture is read or written: who passes pixels does not need it. */
export async function loadSharp(): Promise<typeof sharp> {
  return (await import('sharp')).default
}

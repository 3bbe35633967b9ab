import type sharp from 'sharp'

/** sharp, loaded when the first picture is read or written: who has pixels needs none of it. */
export async function loadSharp(): Promise<typeof sharp> {
  return (await import('sharp')).default
}

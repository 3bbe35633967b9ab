import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Folder of this package: that of package.json. */
export const packageRoot = dirname(dirname(fileURLToPath(import.meta.url)))

/** The bundle that comes with the package. */
export const defaultBundle = join(packageRoot, 'models', 'seg-sam-tiny')

/** Finds or fetches libtorch; plain JavaScript, so that it runs before anything is built. */
export const libtorchScript = join(packageRoot, 'native', 'install', 'libtorch.mjs')

export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string }).version
}

import { constants } from 'node:fs'
import { access, mkdir } from 'node:fs/promises'
import { SegSamError } from '../errors.js'

/**
 * Makes the folder that an option names, where it is not there, and sees that files can be written into it.
 *
 * @param option for messages, for example `--out`
 * @throws SegSamError `WRITE_FAILED`
 */
export async function makeFolder(path: string, option: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true })
    await access(path, constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw new SegSamError('WRITE_FAILED', `${option} ${path} ${reasonOf(cause)}. Pass another folder.`, { cause })
  }
}

function reasonOf(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === 'EEXIST') return 'is a file; a folder is needed'
  if (code === 'ENOTDIR') return 'cannot be made, because something in its path is a file'
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return 'cannot be written to with your rights'
  return `cannot be made: ${message}`
}

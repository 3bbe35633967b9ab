import { constants } from 'node:fs'
import { access, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
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

/**
 * Writes a file of a result, over what has its name.
 *
 * @throws SegSamError `WRITE_FAILED`
 */
export async function writeInto(folder: string, file: string, data: string | Uint8Array): Promise<void> {
  const path = join(folder, file)
  try {
    await writeFile(path, data)
  } catch (cause) {
    throw new SegSamError('WRITE_FAILED', `${path} cannot be written: ${fileReasonOf(cause)}.`, { cause })
  }
}

function fileReasonOf(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === 'EISDIR') return 'a folder has its name'
  if (code === 'ENOENT') return 'its folder is gone'
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'there is no room left'
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return 'you have no right to'
  return message
}

function reasonOf(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === 'EEXIST') return 'is a file; a folder is needed'
  if (code === 'ENOTDIR') return 'cannot be made, because something in its path is a file'
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return 'cannot be written to with your rights'
  return `cannot be made: ${message}`
}

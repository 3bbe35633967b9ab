import { inspect } from 'node:util'
import { CommanderError } from 'commander'
import { SegSamError, type SegSamErrorCode } from '../errors.js'

const FAILURE = 1
const USAGE = 2

/** What a person typed, as opposed to what a file or the machine is like. */
const USAGE_CODES: SegSamErrorCode[] = ['INVALID_ARGUMENT', 'INVALID_PROMPT', 'UNKNOWN_CLASS']

/** 1 for a failure, 2 where the command line has to be written otherwise, 0 after --help and --version. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE
  if (error instanceof SegSamError && USAGE_CODES.includes(error.code)) return USAGE
  return FAILURE
}

/** One line, `seg-sam: CODE: message`; with the stack where that is wanted. */
export function explain(error: unknown, withStack: boolean): string {
  if (withStack) return `seg-sam: ${inspect(error)}`
  if (!(error instanceof Error)) return `seg-sam: ${String(error)}`
  const code = 'code' in error && typeof error.code === 'string' ? `${error.code}: ` : ''
  return `seg-sam: ${code}${inFlags(oneLine(error.message.replace(new RegExp(`^${code}`), '')))}`
}

/** What a file may lack or hold shows when it is read, in the words of the API: these are those of the command line. */
const FLAGS: [RegExp, string][] = [
  [/^(page|series|index|window) is /, '--$1 is '],
  [/read(?:Image|Volume)\(\w+, \{ (page|series|index): 0 \}\)/, '--$1 0'],
  [/ Raise max(Voxels|Pixels)\b.*$/, ''],
  [/Decode (other formats|it) yourself and pass \{.*\}\.$/, 'Convert such a file first.'],
  [/^(.* is a series\. Add \/instances\/UID for one image), or .*$/, '$1.'],
  [/`headers`/, '--header'],
  [/^The headers cannot be sent\. Allowed: .*$/, '--header cannot be sent. Allowed: "name: value" of an HTTP header.'],
  [/Write without keepPatient\./, 'Leave out --keep-patient.'],
  [/Write a DICOM segmentation with toDicomSeg\./, 'Write a DICOM segmentation with --format seg.'],
]

function inFlags(message: string): string {
  return FLAGS.reduce((text, [api, flag]) => text.replace(api, flag), message)
}

/** Messages may have several lines for a program's log; a terminal gets one. */
export function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, ' ').trim()
}

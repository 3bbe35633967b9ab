import { SegSamError } from '../../errors.js'

/** Specific Character Set (PS3.3 C.12.1.1.2) as the WHATWG names it, which `TextDecoder` takes. */
const ENCODINGS: Record<string, string> = {
  '': 'latin1',
  'ISO_IR 6': 'latin1',
  'ISO_IR 13': 'shift_jis',
  'ISO_IR 100': 'latin1',
  'ISO_IR 101': 'iso-8859-2',
  'ISO_IR 109': 'iso-8859-3',
  'ISO_IR 110': 'iso-8859-4',
  'ISO_IR 126': 'iso-8859-7',
  'ISO_IR 127': 'iso-8859-6',
  'ISO_IR 138': 'iso-8859-8',
  'ISO_IR 144': 'iso-8859-5',
  'ISO_IR 166': 'windows-874',
  'ISO_IR 192': 'utf-8',
  'ISO_IR 203': 'iso-8859-15',
  GB18030: 'gb18030',
  GBK: 'gbk',
}

/** Sets that text switches to by an escape sequence: the encoding that knows the sequences, or needs them left out. */
const WITH_ESCAPES: Record<string, { encoding: string; shift?: string }> = {
  'ISO 2022 IR 87': { encoding: 'iso-2022-jp' },
  'ISO 2022 IR 149': { encoding: 'euc-kr', shift: '\u001b$)C' },
  'ISO 2022 IR 58': { encoding: 'gb18030', shift: '\u001b$)A' },
}

/**
 * Text of a DICOM file. Japanese of JIS X 0212 (`ISO 2022 IR 159`) is not read, nor are two sets with escapes beside each
 * other.
 *
 * @throws SegSamError `UNSUPPORTED_FORMAT`, without the text
 */
export function decoded(bytes: Uint8Array, characterSets: readonly string[]): string {
  const isAscii = bytes.every((byte) => byte < 0x80 && byte !== 0x1b)
  if (isAscii) return trimmed(Buffer.from(bytes).toString('latin1'))
  const shifted = characterSets.filter((set) => set in WITH_ESCAPES)
  const others = characterSets
    .filter((set) => !(set in WITH_ESCAPES))
    .map((set) => set.replace('ISO 2022 IR', 'ISO_IR'))
  const isAlone = shifted.length === 1 && others.every((set) => set === '' || set === 'ISO_IR 6' || set === 'ISO_IR 13')
  const { encoding, shift }: { encoding: string | undefined; shift?: string } = isAlone
    ? WITH_ESCAPES[shifted[0]!]!
    : { encoding: characterSets.length <= 1 ? ENCODINGS[others[0] ?? ''] : undefined }
  try {
    const plain = shift ? Buffer.from(Buffer.from(bytes).toString('latin1').replaceAll(shift, ''), 'latin1') : bytes
    return trimmed(new TextDecoder(encoding ?? 'not known', { fatal: true }).decode(plain))
  } catch {
    throw new SegSamError(
      'UNSUPPORTED_FORMAT',
      `What the source says of the patient and study cannot be read in its character set, ${characterSets.join(', ') || 'ASCII'}. ` +
        'Write without keepPatient.',
    )
  }
}

function trimmed(text: string): string {
  return text.replaceAll('\0', '').trim()
}

import { Argument, Command } from 'commander'
import { type BundleFile, type BundleReport, inspectBundle } from '../bundle.js'
import { defaultBundle } from '../package-root.js'
import { table } from './table.js'

export function inspectCommand(): Command {
  return new Command('inspect')
    .description('Tell what a bundle is, and verify the hashes of its files. Exit code 1 where one differs.')
    .addArgument(new Argument('[bundle]', 'folder of the model').default(defaultBundle, 'the one in this package'))
    .option('--json', 'write JSON to stdout, and nothing else')
    .action(async (directory: string, { json }: { json?: true }) => {
      const bundle = await inspectBundle(directory)
      process.stdout.write(`${json ? JSON.stringify(summary(bundle), null, 2) : report(bundle)}\n`)
      if (!bundle.intact) process.exitCode = 1
    })
}

function summary({ directory, manifest, classes, files, intact }: BundleReport) {
  const { files: _, ...about } = manifest
  return {
    schema: 1,
    directory,
    intact,
    manifest: about,
    files,
    classes: classes.map(({ id, name }) => ({ id, name })),
  }
}

function report({ directory, manifest, classes, files, intact }: BundleReport): string {
  const about = [
    ['bundle', directory],
    ['model', `${manifest.name} ${manifest.version}`],
    ['architecture', manifest.architecture],
    ['image size', `${manifest.image_size} x ${manifest.image_size} (${RESIZE[manifest.resize_mode]})`],
    ['weights', manifest.dtype],
    [
      'semantic part',
      manifest.semantic === 'trained' ? 'trained' : 'untrained: names no classes, draws no semantic mask',
    ],
    ['classes', `${classes.length}: ${shortened(classes.map(({ id }) => id))}`],
    ['licence', manifest.licence],
  ]
  const rows = files.map(({ name, bytes, state }) => [name, bytes === null ? '' : `${bytes}`, STATES[state]])
  return [
    ...about.map(([key, value]) => `${key!.padEnd(14)}  ${value}`),
    '',
    table(['file', 'bytes', 'state'], rows, ['bytes']),
    '',
    intact
      ? 'The bundle is intact.'
      : 'The bundle is damaged or was changed, and will not be loaded: fetch or export it again.',
  ].join('\n')
}

const RESIZE = { longest: 'longest side scaled, aspect kept', stretch: 'each side scaled on its own' }

const STATES: Record<BundleFile['state'], string> = {
  verified: 'verified',
  edited: 'edited (allowed)',
  unlisted: 'not in the manifest',
  differs: 'DIFFERS from the manifest',
  missing: 'MISSING',
}

function shortened(ids: string[]): string {
  return ids.length <= 8
    ? ids.join(', ')
    : `${ids.slice(0, 8).join(', ')} and ${ids.length - 8} more (--json lists all)`
}

#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { packageVersion } from '../package-root.js'
import { doctorCommand } from './doctor.js'
import { evalCommand } from './eval.js'
import { exitCodeOf, explain, oneLine } from './failure.js'
import { inspectCommand } from './inspect.js'
import { labelCommand } from './label.js'
import { libtorchCommand } from './libtorch.js'
import { segmentCommand } from './segment.js'
import { volumeCommand } from './volume.js'

const program = new Command('seg-sam')
  .description('Segment medical images with a click or a box, and name what was found. Not for clinical use.')
  .version(packageVersion())
  .addHelpText(
    'after',
    `
Exit codes: 0 success, 1 failure, 2 the command line is wrong.

Examples:
  seg-sam segment scan.png --box 83,87,105,117 --out found
  seg-sam eval models/seg-sam-tiny DATA/nuclei --prompts box,1pt --report out
  seg-sam label scan.png --out labelled
  seg-sam volume ct.nii.gz --slice 40 --box 83,87,105,117 --format nifti --out found
  seg-sam inspect models/seg-sam-tiny
  seg-sam doctor`,
  )

for (const command of [
  segmentCommand(),
  labelCommand(),
  volumeCommand(),
  evalCommand(),
  inspectCommand(),
  doctorCommand(),
  libtorchCommand(),
]) {
  command.option('--debug', 'show the stack of an error').exitOverride()
  command.configureOutput({ outputError: (text, write) => write(usageError(text, `seg-sam ${command.name()}`)) })
  program.addCommand(command)
}
program.exitOverride().configureOutput({ outputError: (text, write) => write(usageError(text, 'seg-sam')) })

// A reader that has seen enough, such as `head`, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) process.stderr.write(`${explain(error, process.argv.includes('--debug'))}\n`)
  process.exitCode = exitCodeOf(error)
}

function usageError(text: string, command: string): string {
  return `seg-sam: USAGE: ${oneLine(text.replace(/^error: /, ''))} (see ${command} --help)\n`
}

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Command } from 'commander'
import { libtorchScript } from '../package-root.js'

export function libtorchCommand(): Command {
  return new Command('libtorch')
    .description('Find or fetch the libtorch that the addon needs, and say where it is.')
    .argument('[arguments...]', 'handed to native/install/libtorch.mjs')
    .allowUnknownOption()
    .action(async (args: string[]) => {
      const [exitCode] = await once(spawn(process.execPath, [libtorchScript, ...args], { stdio: 'inherit' }), 'exit')
      process.exitCode = exitCode ?? 1
    })
}

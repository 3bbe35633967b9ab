/**
 * `npm run demo`: segments structures in a slice of the MNI152 brain template with the model of this package, and
 * writes the picture, the masks and result.json to demo-out/. Options of `seg-sam segment` may follow `--`.
 */
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

console.log('Looking for libtorch and the addon ...')
run('native/install/install.mjs')

const image = 'examples/images/mni152_coronal_y-18.png'
const boxes = ['61,71,80,95', '43,101,65,114', '98,101,121,114', '85,61,101,72', '66,99,98,136']
console.log(`\nSegmenting ${image} ...\n`)
run(
  'dist/cli/main.js',
  'segment',
  image,
  ...boxes.flatMap((box) => ['--box', box]),
  '--out',
  'demo-out',
  ...process.argv.slice(2),
)
console.log('\nLook at demo-out/overlay.png')

function run(script, ...args) {
  const { status } = spawnSync(process.execPath, [join(root, script), ...args], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

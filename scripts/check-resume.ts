/**
 * Kills `quench train` with SIGKILL at random moments of all its stages, goes on with --resume each time, and compares the final file
 * with that of an undisturbed run, byte for byte. Takes some minutes.
 *
 *   npx tsx scripts/check-resume.ts [kills = 20] [seed = 1]
 */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Random } from '../src/random.js'

const [kills, seed] = [Number(process.argv[2] ?? 20), Number(process.argv[3] ?? 1)]
const folder = await mkdtemp(join(tmpdir(), 'quench-resume-'))
const random = new Random(seed)
const settings = ['--tokens', '8192', '--calibration', '4096', '--steps', '30', '--batch', '256']
const common = ['train', 'models/quench-5m-f16.gguf', '-t', 'Q2_K', ...settings, '--checkpoint-every', '1']

/** Runs to the end, or until it is killed after `seconds`; resolves to the exit code, null if it was killed. */
function run(output: string, seconds?: number): Promise<number | null> {
  const args = ['dist/cli/main.js', ...common, '-o', output, '--resume', '--json']
  const env = { ...process.env, QUENCH_CACHE: join(folder, 'cache') }
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'], env })
  const timer = seconds === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), 1000 * seconds)
  return new Promise((resolve) =>
    child.on('exit', (code) => {
      clearTimeout(timer)
      resolve(code)
    }),
  )
}

try {
  const whole = join(folder, 'whole.gguf')
  const began = performance.now()
  if ((await run(whole)) !== 0) throw new Error('the undisturbed run failed')
  const length = (performance.now() - began) / 1000
  console.log(`undisturbed: ${length.toFixed(1)} s`)
  const killed = join(folder, 'killed.gguf')
  let done = 0
  let finished = 0
  while (done < kills) {
    const after = 0.5 + random.uniform() * length
    if ((await run(killed, after)) === null) {
      done++
      console.log(`killed after ${after.toFixed(1)} s (${done} of ${kills})`)
    } else {
      finished++
      compare(await readFile(whole), await readFile(killed))
      await rm(killed)
    }
  }
  if ((await run(killed)) !== 0) throw new Error('the last run failed')
  compare(await readFile(whole), await readFile(killed))
  console.log(`${kills} kills, ${finished + 1} files, each equal to the undisturbed one byte for byte`)
} finally {
  await rm(folder, { recursive: true, force: true })
}

function compare(a: Buffer, b: Buffer): void {
  if (!a.equals(b)) throw new Error('the file of the killed run differs')
}

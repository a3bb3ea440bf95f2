/** Other processes that run a script on the sources of this repository. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { pathToFileURL } from 'node:url'
import { compiled } from './compiled.js'

/** The URL of a source file, compiled, for an import in a script. */
export const source = (path: string): string => JSON.stringify(pathToFileURL(compiled(path)))

/** Starts a script, an ES module, and waits until it has printed this. The process is the caller's to end. */
export async function startScript(script: string, printed: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  for await (const chunk of child.stdout.setEncoding('utf8')) {
    output += chunk
    if (output.includes(printed)) return child
  }
  throw new Error(`the script ended without printing ${printed}: ${output}`)
}

/** Ends a process at once, as the system does when memory runs out. */
export async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

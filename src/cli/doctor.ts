/** `quench doctor`: versions, devices and limits of this machine, and what is missing. */
import type { Command } from 'commander'
import { helpEnd } from './help.js'
import { jsonOption } from './shared.js'
import { humanBytes, table } from './terminal/format.js'
import { print, printJson } from './terminal/print.js'
import { bold, green, type Line } from './terminal/style.js'

interface Options {
  json?: true
}

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('show versions, devices and limits of this machine, and what is missing')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      helpEnd(['Exit code 0 where training and evaluating are possible, else 1.'], ['quench doctor']),
    )
    .action(async ({ json }: Options) => {
      const { examine } = await import('./examination.js')
      const found = await examine()
      if (json) printJson(found)
      else print(describe(found))
      if (found.missing.length > 0) process.exitCode = 1
    })
}

type Examination = Awaited<ReturnType<typeof import('./examination.js').examine>>

function describe({
  versions,
  machine,
  threads,
  memory,
  devices,
  training,
  cache,
  missing,
}: Examination): Line[] {
  const rows = [
    ['quench', versions.quench],
    ['node', versions.node],
    ['llama.cpp', versions.llama ?? 'missing'],
    ['onnxruntime', versions.onnxruntime ?? 'missing'],
    ['platform', `${machine.platform}, ${machine.cpu}`],
    ['threads', `${threads.count} (${threads.why})`],
    ['memory', `${humanBytes(memory.bytes)} (${memory.why})`],
    ...devices.map(({ name, description, kind, totalBytes }) => [
      'device',
      `${name}: ${description}, ${kind}${totalBytes > 0 ? `, ${humanBytes(totalBytes)}` : ''}`,
    ]),
    ['train on GPU', training.gpu ? 'possible, with --device webgpu' : (training.why ?? '')],
    ['cache', `${cache.folder}, ${cache.bytes === undefined ? cache.problem : humanBytes(cache.bytes)}`],
  ]
  const problems = missing.map(({ what, how }) => `${what} ${how}`)
  return [
    ...table(rows, new Set()),
    '',
    ...(problems.length > 0
      ? [bold('What is missing'), ...problems.map((problem) => `  ${problem}`)]
      : [green('training and evaluating are possible')]),
    '',
    'to report a bug: add the command, what it printed, and what `quench doctor --json` prints',
  ]
}

/** The program with the one command that was typed, since loading all of them takes longer than some of them run. */
import type { Command } from 'commander'
import { emptyProgram } from '../help.js'

type Add = (program: Command) => void

/** Commands that can be loaded alone, by name. */
export const loaders: Readonly<Record<string, () => Promise<Add>>> = {
  inspect: async () => (await import('../inspect.js')).addInspect,
  convert: async () => (await import('../convert.js')).addConvert,
  quantize: async () => (await import('../quantize/quantize.js')).addQuantize,
  imatrix: async () => (await import('../imatrix.js')).addImatrix,
  train: async () => (await import('../train/train.js')).addTrain,
  eval: async () => (await import('../eval/eval.js')).addEval,
  bench: async () => (await import('../bench.js')).addBench,
  compare: async () => (await import('../compare.js')).addCompare,
  demo: async () => (await import('../demo.js')).addDemo,
  pull: async () => (await import('../pull.js')).addPull,
  push: async () => (await import('../publish/push.js')).addPush,
  'add-to': async () => (await import('../publish/add-to.js')).addAddTo,
  advise: async () => (await import('../advise/advise.js')).addAdvise,
  catalogue: async () => (await import('../advise/catalogue.js')).addCatalogue,
  cache: async () => (await import('../cache.js')).addCache,
  measurements: async () => (await import('../advise/measurements.js')).addMeasurements,
  doctor: async () => (await import('../doctor.js')).addDoctor,
}

/** The program for what was typed: with the command of that name, or with all of them. */
export async function programFor(name: string | undefined): Promise<Command> {
  if (name === undefined || !Object.hasOwn(loaders, name))
    return (await import('./program.js')).createProgram()
  const program = emptyProgram()
  const add = await loaders[name]()
  add(program)
  return program
}

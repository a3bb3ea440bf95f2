/** Declares the command line: all commands with their options and actions. */
import type { Command } from 'commander'
import { addAdvise } from '../advise/advise.js'
import { addCatalogue } from '../advise/catalogue.js'
import { addMeasurements } from '../advise/measurements.js'
import { addBench } from '../bench.js'
import { addCache } from '../cache.js'
import { addCompare } from '../compare.js'
import { addComplete } from '../complete.js'
import { addConvert } from '../convert.js'
import { addDemo } from '../demo.js'
import { addDoctor } from '../doctor.js'
import { addEval } from '../eval/eval.js'
import { emptyProgram } from '../help.js'
import { addImatrix } from '../imatrix.js'
import { addInspect } from '../inspect.js'
import { addAddTo } from '../publish/add-to.js'
import { addPush } from '../publish/push.js'
import { addPull } from '../pull.js'
import { addQuantize } from '../quantize/quantize.js'
import { addTrain } from '../train/train.js'

export function createProgram(): Command {
  const program = emptyProgram()
  addInspect(program)
  addConvert(program)
  addQuantize(program)
  addImatrix(program)
  addTrain(program)
  addEval(program)
  addBench(program)
  addCompare(program)
  addDemo(program)
  addPull(program)
  addPush(program)
  addAddTo(program)
  addAdvise(program)
  addCatalogue(program)
  addCache(program)
  addMeasurements(program)
  addDoctor(program)
  addComplete(program)
  return program
}

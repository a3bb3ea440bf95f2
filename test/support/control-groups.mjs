/**
 * Preloaded by a command: the control groups of the folder CONTROL_GROUPS in place of the system's, and MEMORY_LIMIT as what Node reads of
 * them, since it asks the system itself.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const { readFileSync } = fs
const ofGroups = /^\/(proc\/self\/cgroup$|sys\/fs\/cgroup\/)/
fs.readFileSync = (path, ...more) =>
  readFileSync(ofGroups.test(path) ? process.env.CONTROL_GROUPS + path : path, ...more)
syncBuiltinESMExports()
process.constrainedMemory = () => Number(process.env.MEMORY_LIMIT)

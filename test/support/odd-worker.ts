/** A module for `Sandbox` that does what strangers' files make ours do. */
import { writeFileSync } from 'node:fs'
import { FileError, QuenchError } from '../../src/errors.js'
import { serve } from '../../src/sandbox.js'

serve(async (input: string) => {
  if (input === 'bad file') throw new FileError('a.gguf', 'it is no good')
  return (request: string): unknown => {
    switch (request) {
      case 'pattern':
        if (input !== '') writeFileSync(input, String(process.pid))
        return /^(a+)+$/.test(`${'a'.repeat(40)}b`)
      case 'abort':
        return process.abort()
      case 'memory': {
        const lists: number[][] = []
        for (;;) lists.push(new Array<number>(1e6).fill(lists.length + 0.5))
      }
      case 'sentence':
        throw new QuenchError('it is no good')
      case 'bug':
        throw new TypeError('not a function')
      case 'print':
        process.stdout.write('out')
        process.stderr.write('err')
        return undefined
      default:
        return { request, pid: process.pid }
    }
  }
})

/** Commands that messages suggest are typed as the one that printed them was. */
import { afterEach, expect, test } from 'vitest'
import { commandName } from '../../src/cli/command-name.js'

const before = process.env.npm_command
afterEach(() => {
  if (before === undefined) delete process.env.npm_command
  else process.env.npm_command = before
})

test.each([
  ['exec', 'npx quench'],
  ['run-script', 'quench'],
])('under npm %s: %s', (command, name) => {
  process.env.npm_command = command
  expect(commandName()).toBe(name)
})

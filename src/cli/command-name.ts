/** How the command is typed here, for commands that messages suggest. */

/** `npx quench` where npx has started it, since there `quench` alone may not be in the PATH. */
export const commandName = (): string => (process.env.npm_command === 'exec' ? 'npx quench' : 'quench')

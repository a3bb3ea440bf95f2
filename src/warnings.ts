/** What a person should know although the work goes on, from deep inside: a warning of Node's, which the command prints in its own way. */

export const warningType = 'QuenchWarning'

export const warn = (message: string): void => process.emitWarning(message, { type: warningType })

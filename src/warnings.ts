/**
 * Warnings for the user from deep inside, while the work continues: Node warnings, which the command prints in its own format.
 */

export const warningType = 'QuenchWarning'

export const warn = (message: string): void => process.emitWarning(message, { type: warningType })

/** Files that are evaluated in one run, at most: the reference runs once for them, and an interruption loses little. */
export const sideBySide = 4

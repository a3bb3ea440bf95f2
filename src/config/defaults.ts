/** Default options of a run. The plan decides those that depend on the model, the machine or `seconds`. */
export const defaults = {
  /** Tokens of each kind of general text that stages are validated on. */
  validation: 1536,
  /** Share of the tokens that the model writes if the user gives no text. */
  selfWritten: 0.5,
  tokens: 131_072,
  calibration: 49_152,
  steps: 300,
  /** Tokens per window and per step. */
  context: 128,
  batch: 512,
  method: 'auto',
  device: 'cpu',
  embeddings: 'auto',
  weightRate: 0.003,
  scaleRate: 0.0005,
  seed: 1,
} as const

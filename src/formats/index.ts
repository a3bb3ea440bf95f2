/** The number formats: their bytes and grids, and which of them each tensor of a model gets. */
export { type AssignedType, assignTypes, chooseTypes, type TypeChoices } from './assign.js'
export type { Codes, Factor, Format, Grid, GridLayout, Latent, Latents } from './format.js'
export type { Levels } from './levels.js'
export { type ModelFacts, type Recipe, recipes } from './recipes.js'
export type { ScaleRounding, StoredScale } from './stored-scale.js'
export { formatNamed, formatOf, formats } from './table.js'
export type { TensorFacts } from './tensors.js'

/** Saved references: what is kept of a reference's predictions, so that files can be compared with it where it is not. */
export {
  isSavedReference,
  needModel,
  ReferenceWriter,
  type RowWriter,
  relativePath,
  SavedReference,
} from './saved-reference.js'
export { encodeRow, type RowLayout, SavedRow } from './saved-row.js'

/**
 * Saved references: the part of a reference's predictions that is kept, so that files can be compared with it without the
 * model.
 */
export {
  isSavedReference,
  needModel,
  ReferenceWriter,
  type RowWriter,
  relativePath,
  SavedReference,
} from './saved-reference.js'
export { encodeRow, type RowLayout, SavedRow } from './saved-row.js'

/** Which files of a repository or a folder are a checkpoint, by their names. */

/** Files of a checkpoint that tell of the model: weights, configuration, tokenizer. Pickles are none of them. */
export const checkpointFiles = (paths: readonly string[]): string[] =>
  paths.filter(
    (path) =>
      !path.includes('/') &&
      /^(.*\.safetensors|.*\.safetensors\.index\.json|.*config\.json|tokenizer.*\.(json|model)|vocab\.(json|txt)|merges\.txt|special_tokens_map\.json|added_tokens\.json|chat_template\.(jinja|json)|spiece\.model|sentencepiece.*\.model|README\.md|LICENSE.*)$/i.test(
        path,
      ),
  )

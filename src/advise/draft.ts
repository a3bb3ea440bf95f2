/**
 * A draft model for speculative decoding beside each candidate: its weights, cache and buffers come on top. What it wins depends on how many
 * of its guesses the model accepts, which only a measurement tells, so it is shown with its assumption and counted only where asked.
 */
import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { UsageError } from '../errors.js'
import { openGguf } from '../gguf/index.js'
import { familyNamed } from './catalogue/names.js'
import type { Catalogue } from './catalogue/types.js'
import { quoted } from './commands.js'
import { familyParameters } from './family.js'
import { type Sized, sizedByFamily, sizedByHeader } from './footprint.js'
import { draftDefaults } from './speed/estimate.js'
import { bytesOf } from './speed/work.js'

export interface DraftModel {
  readonly name: string
  readonly sized: Sized
  /** What llama-server is told. */
  readonly option: string
}

/** @param name a GGUF file, or a family of the catalogue. @throws UsageError for neither, FileError for a damaged file */
export async function draftNamed(name: string, catalogue: Catalogue): Promise<DraftModel> {
  const family = existsSync(name) ? undefined : familyNamed(catalogue, name)
  if (family) {
    // Drafts are usually taken in the largest type: they are small, and what they lose costs guesses.
    const size = catalogue.types.findLast(({ usual, fullPrecision }) => usual && !fullPrecision)
    if (!size) throw new UsageError(`--draft ${name}: the catalogue has no type for it; name its file`)
    const { type } = size
    const bytes = Math.round((familyParameters(family) * size.bitsPerWeight) / 8)
    const [repository] = family.ggufRepositories ?? []
    return {
      name: `${family.name} ${type}`,
      sized: sizedByFamily(family, { type, bytes }),
      option:
        repository === undefined
          ? `-md ${family.id}-${type.toLowerCase()}.gguf`
          : `-hfd ${repository}:${type}`,
    }
  }
  if (!existsSync(name))
    throw new UsageError(
      `--draft ${name}: it is no GGUF file and no family of the catalogue; pull the draft and name its file`,
    )
  const gguf = await openGguf(name)
  await gguf.close()
  return { name: basename(name), sized: sizedByHeader(gguf), option: `-md ${quoted(name)}` }
}

/** As in llama.cpp: vocabularies may differ by a few tokens at the end. */
const mostTokensOff = 128

/** Whether llama.cpp takes one as the draft of the other. */
export const suitsDraft = (model: Sized, draft: Sized): boolean =>
  Math.abs(model.vocabulary - draft.vocabulary) <= mostTokensOff

/** The model with its draft, which is on the graphics card as soon as a layer of the model is. */
export function withDraft(sized: Sized, draft: Sized, counted: boolean): Sized {
  const { weights } = draft.work({})
  return {
    ...sized,
    draft: { ...draftDefaults, bytes: bytesOf({ weights }), counted },
    memory: (options) => {
      const { context, parallel, instructions, tensorSplit, gpuLayers = 0 } = options
      const own = {
        context,
        ...(parallel !== undefined && { parallel }),
        ...(instructions && { instructions }),
        ...(tensorSplit && { tensorSplit }),
        gpuLayers: gpuLayers > 0 ? Number.POSITIVE_INFINITY : 0,
      }
      const items = draft
        .memory(own)
        .map((item) => ({ ...item, what: `draft: ${item.what}`, draft: true as const }))
      return [...sized.memory(options), ...items]
    },
  }
}

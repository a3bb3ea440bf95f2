/** The commands that fetch, make and run a file. */
import { recipes } from '../formats/recipes.js'
import { formatOf } from '../formats/table.js'
import { architectureNames } from '../models/table.js'
import type { Candidate } from './candidates.js'
import type { RunOptions } from './footprint.js'
import type { AdvisedFile } from './types.js'

export interface Command {
  readonly what: string
  readonly command: string
}

/** A word for a shell. */
export const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`

/** @param draft what llama-server is told of a draft */
export function commandsOf(
  file: AdvisedFile,
  candidate: Candidate,
  run: RunOptions,
  draft?: string,
): Command[] {
  const { memory, path, type } = file
  const { keys, values } = run.cacheTypes
  const options = [
    `-c ${run.context * run.parallel}`,
    ...(run.parallel > 1 ? [`-np ${run.parallel}`] : []),
    ...(memory.gpuLayers > 0 ? [`-ngl ${memory.gpuLayers}`] : []),
    ...(memory.cpuExpertLayers ? [`--n-cpu-moe ${memory.cpuExpertLayers}`] : []),
    ...(keys === 'f16' ? [] : [`-ctk ${keys}`]),
    ...(values === 'f16' ? [] : [`-ctv ${values}`]),
    ...(draft === undefined ? [] : [draft]),
  ].join(' ')
  if (path !== undefined)
    return [{ what: 'llama.cpp', command: `llama-server -m ${quoted(path)} ${options}` }]
  const repository = candidate.repository
  if (candidate.toMake || repository === undefined)
    return [{ what: 'make it', command: `quench quantize ${modelFile(candidate)} ${type}` }]
  const tag = candidate.file === undefined ? type : candidate.tag
  const name = `${repository}:${tag ?? candidate.file}`
  const fetched = { what: 'fetch it', command: `quench pull ${quoted(`hf:${name}`)}` }
  if (tag === undefined)
    return [
      fetched,
      {
        what: 'llama.cpp',
        command: `llama-server -hf ${repository} -hff ${quoted(candidate.file ?? '')} ${options}`,
      },
    ]
  return [
    fetched,
    { what: 'llama.cpp', command: `llama-server -hf ${quoted(name)} ${options}` },
    { what: 'Ollama', command: `ollama run hf.co/${quoted(name)}` },
    {
      what: 'LM Studio',
      command: `lms get ${quoted(`https://huggingface.co/${repository}`)}@${tag.toLowerCase()}`,
    },
  ]
}

const modelFile = ({ family }: Candidate): string => `${family?.id ?? 'model'}-f16.gguf`

/** Whether all of a type trains. What solving alone leaves of a codebook's loss was measured on one model, so it is not advised. */
const trains = (type: string): boolean =>
  Object.hasOwn(recipes, type) && formatOf(recipes[type].type)?.latents !== undefined

/** The type that is best to train for: of those that fit and quench trains, at most as many bits as QAT is worth the time for. */
export const typeToTrain = (files: readonly AdvisedFile[]): string | undefined =>
  files
    .filter(({ fits, type, qat, bitsPerWeight }) => fits && trains(type) && !qat.qat && bitsPerWeight <= 5.2)
    .sort((a, b) => a.loss.expected - b.loss.expected)[0]?.type

/** How to train a QAT file of a type, for architectures and types that quench trains; undefined for others. */
export function trainCommand(
  candidate: Candidate,
  type: string,
  fullPrecision: string | undefined,
): Command | undefined {
  if (!architectureNames.includes(candidate.model.architecture ?? '') || !trains(type)) return undefined
  const input = fullPrecision === undefined ? modelFile(candidate) : quoted(fullPrecision)
  return {
    what: 'make a QAT file (--dry-run tells its time here)',
    command: `quench train ${input} --type ${type} --time 1h`,
  }
}

/**
 * `quench advise`: which file to take.
 *
 *   machine + names -> candidates -> what each takes and loses -> pick -> words and commands
 */
import { type Candidate, runOf } from './candidates.js'
import { type Command, commandsOf, trainCommand, typeToTrain } from './commands.js'
import type { DraftModel } from './draft.js'
import { memoryAt, type RunOptions, type Sized, speedAt } from './footprint.js'
import { cardNames, type Machine, type MachineDevice } from './machine/machine.js'
import { excessOf, type Limits, lackOf, type Option, type Pick as Picked, picksOf, placeOf } from './pick.js'
import { choices, optionsOf, type Prepared, prepareAdvice } from './prepare.js'
import { wasteOf } from './qat.js'
import type { LossEstimate } from './quality/types.js'
import type { Advice, AdvisedDevice, AdvisedFile, AdvisedModel, AdviseOptions } from './types.js'
import { fp4Note, sentencesOf } from './words.js'

/** Which file to take. @throws like `prepareAdvice` */
export const advise = async (options: AdviseOptions = {}): Promise<Advice> =>
  adviceFrom(await prepareAdvice(options))

const limitsOf = ({ machine: { cpu, gpus }, minSpeed }: Prepared): Limits => ({
  ram: cpu.usableBytes,
  vram: gpus.reduce((sum, { usableBytes }) => sum + usableBytes, 0),
  unified: gpus.some(({ unified }) => unified),
  minSpeed,
})

export function adviceFrom(prepared: Prepared): Advice {
  const { catalogue, candidates, machine, run, minSpeed, purpose, measurements, failures } = prepared
  const limits = limitsOf(prepared)
  const options = optionsOf(prepared)
  const byId = new Map(candidates.map((candidate) => [candidate.id, candidate]))
  const files = new Map(options.map((option) => [option.id, advised(option, byId, prepared, limits)]))
  const told = {
    catalogue,
    candidates: byId,
    files,
    limits,
    machine,
    run,
    ...(prepared.draft && { draft: prepared.draft }),
  }
  const models = picksOf(choices(options, prepared), limits).map((pick): AdvisedModel => {
    const own = options
      .filter(({ model }) => model === pick.model)
      .map(({ id }) => files.get(id) as AdvisedFile)
    const [first] = own
    const { model, family, licence } = byId.get(first.id) as Candidate
    return {
      model: model.name,
      ...(family && { family: family.id }),
      ...(licence !== undefined && { licence }),
      parameters: model.parameters,
      files: own.sort((a, b) => a.loss.expected - b.loss.expected || a.bytes - b.bytes),
      ...(pick.best !== undefined && { pick: pick.best }),
      ...(pick.runnerUp !== undefined && { runnerUp: pick.runnerUp }),
      ...(pick.next && { next: pick.next }),
      sentences: sentencesOf(pick, told),
      commands: commandsFor(pick, own, byId, run, prepared.draft),
      abilities: catalogue.abilities
        .filter((ability) => ability.family === family?.id)
        .map(({ measure, score, sources }) => ({ measure, score, source: sources[0] })),
      drafts: (family?.drafts ?? []).map(({ repository, kind }) => ({
        ...(repository !== undefined && { repository }),
        kind,
      })),
    }
  })
  const fp4 = fp4Note(machine)
  const gpu = cardNames(machine)
  return {
    schema: 1,
    machine: {
      described: machine.described,
      ramBytes: machine.cpu.totalBytes,
      ramUsableBytes: Math.floor(limits.ram),
      vramBytes: machine.gpus.reduce((sum, { totalBytes }) => sum + totalBytes, 0),
      vramUsableBytes: Math.floor(limits.vram),
      unified: limits.unified,
      ...(gpu !== '' && { gpu }),
      devices: [machine.cpu, ...machine.gpus].map(deviceOf),
      threads: machine.threads,
      instructions: machine.instructions,
    },
    run: { ...run, ...(purpose && { purpose }), minSpeed, ...draftOf(prepared) },
    models: models.sort(
      (a, b) => Number(b.pick !== undefined) - Number(a.pick !== undefined) || b.parameters - a.parameters,
    ),
    measurements,
    notes: [
      ...prepared.notes,
      ...(fp4 === undefined ? [] : [fp4]),
      ...(candidates.some(({ source }) => source === 'catalogue')
        ? ['Memory of files that are not at hand is estimated from the shape of their family.']
        : []),
      ...(models.length > 1
        ? [
            'KL divergence compares files of one model; it says nothing about which of several models is better.',
          ]
        : []),
    ],
    failures,
  }
}

function draftOf({ draft, candidates }: Prepared): Pick<Advice['run'], 'draft'> {
  const known = candidates.find(({ sized }) => sized.draft)?.sized.draft
  return draft && known ? { draft: { name: draft.name, ...known } } : {}
}

function deviceOf({ name, description, totalBytes, usableBytes, ...device }: MachineDevice): AdvisedDevice {
  const { freeBytes, bandwidth, rates } = device
  const measured = Object.fromEntries([...rates].map(([type, { bytesPerSecond }]) => [type, bytesPerSecond]))
  return {
    ...{ name, description, totalBytes, usableBytes: Math.floor(usableBytes) },
    ...(freeBytes !== undefined && { freeBytes }),
    ...(bandwidth !== undefined && { bandwidth }),
    ...(rates.size > 0 && { measured }),
  }
}

function advised(
  option: Option,
  byId: ReadonlyMap<string, Candidate>,
  { catalogue, losses, run: wanted, machine, calibration }: Prepared,
  limits: Limits,
): AdvisedFile {
  const candidate = byId.get(option.id) as Candidate
  const run = runOf(candidate, wanted)
  const { id, source, path, repository, file, type, bytes, bitsPerWeight, qat, sized } = candidate
  const place = placeOf(option.footprint, limits)
  const lack = lackOf(option, limits)
  const layers = sized.layers + 1
  const expertsLeft =
    option.footprint.steps.length > 1 && place.moved >= layers ? place.moves - place.moved : 0
  const gpuLayers = Math.min(layers, place.moved)
  const speed = speedAt(sized, machine, run, calibration, { gpuLayers, cpuExpertLayers: expertsLeft })
  const { low, expected, high } = speed.generate
  const gain = speed.drafted && speed.drafted.expected / speed.generate.expected
  const plain = 1 / place.seconds / (sized.draft?.counted ? (gain ?? 1) : 1)
  const waste = wasteOf(qat, type, new Map(catalogue.types.map((each) => [each.type, each.bitsPerWeight])))
  return {
    ...{ id, source, type, bytes, bitsPerWeight, qat },
    ...(path !== undefined && { path }),
    ...(repository !== undefined && { repository }),
    ...(file !== undefined && { file }),
    loss: losses.get(id) as LossEstimate,
    memory: {
      ramBytes: Math.round(place.ram),
      vramBytes: Math.round(place.vram),
      gpuLayers,
      ...(machine.gpus.length > 1 &&
        cardBytes(sized, machine, run, { gpuLayers, cpuExpertLayers: expertsLeft })),
      ...(expertsLeft > 0 && { cpuExpertLayers: expertsLeft }),
    },
    speed: {
      generate: plain,
      prompt: 1 / place.promptSeconds,
      ...(gain !== undefined && { drafted: plain * gain }),
      interval: [(plain * low) / expected, (plain * high) / expected],
      basis: speed.basis,
    },
    fits: excessOf(place, limits) === 0 && lack.lacks === 'nothing',
    ...(lack.lacks !== 'nothing' && { lacks: { what: lack.lacks, amount: lack.amount } }),
    notes: [
      ...(waste === undefined ? [] : [waste]),
      ...(run.context < wanted.context
        ? [`It was trained for a context of ${run.context} tokens, so it is planned with no more.`]
        : []),
      ...speed.notes,
    ],
  }
}

/** What several cards hold, each of them. */
function cardBytes(
  sized: Sized,
  machine: Machine,
  run: RunOptions,
  split: Parameters<typeof memoryAt>[3],
): Pick<AdvisedFile['memory'], 'vramBytes' | 'cardBytes'> {
  const items = memoryAt(sized, machine, run, split)
  const each = machine.gpus.map((_, i) =>
    Math.round(items.reduce((sum, { device, bytes }) => sum + (device === i ? bytes : 0), 0)),
  )
  return { vramBytes: each.reduce((a, b) => a + b, 0), cardBytes: each }
}

function commandsFor(
  pick: Picked,
  own: readonly AdvisedFile[],
  byId: ReadonlyMap<string, Candidate>,
  run: RunOptions,
  draft: DraftModel | undefined,
): Command[] {
  const best = own.find(({ id }) => id === pick.best)
  if (!best) return []
  const candidate = byId.get(best.id) as Candidate
  const commands = commandsOf(best, candidate, runOf(candidate, run), candidate.sized.draft && draft?.option)
  const trained = own.some(({ qat }) => qat.qat && qat.suits !== false)
  const type = typeToTrain(own)
  if (trained || best.bitsPerWeight > 5.2 || type === undefined) return commands
  const whole = own.find(({ path, loss }) => path !== undefined && loss.kind === 'reference')
  const train = trainCommand(candidate, type, whole?.path)
  return train ? [...commands, train] : commands
}

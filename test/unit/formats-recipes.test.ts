import { describe, expect, it } from 'vitest'
import { QuenchError } from '../../src/errors.js'
import { assignTypes } from '../../src/formats/assign.js'
import { recipes } from '../../src/formats/recipes.js'
import { formatNamed, formatOf } from '../../src/formats/table.js'

const model = { architecture: 'llama', layers: 8, heads: 8, headsKv: 8, experts: 0 }
const matrix = (name: string, row = 256) => ({ name, shape: [row, 4], type: 1 })
const downs = Array.from({ length: 8 }, (_, layer) => matrix(`blk.${layer}.ffn_down.weight`))

const namesOf = (types: Map<string, number>) =>
  Object.fromEntries([...types].map(([name, type]) => [name, formatOf(type)?.name ?? type]))

describe('assignTypes', () => {
  it('counts layers by number, not in the order of the file or of the alphabet', () => {
    const layers = [10, 2, 0, 9, 1, 3, 8, 11, 4, 7, 5, 6]
    const tensors = layers.map((layer) => matrix(`blk.${layer}.attn_v.weight`))
    const types = namesOf(assignTypes('Q3_K_M', { ...model, layers: 12 }, tensors))
    expect(Object.keys(types).filter((name) => types[name] === 'Q5_K')).toEqual([
      'blk.0.attn_v.weight',
      'blk.1.attn_v.weight',
    ])
  })

  it('rounds the embedding as the output where there is no output', () => {
    const embedding = matrix('token_embd.weight')
    expect(namesOf(assignTypes('Q4_K_S', model, [embedding]))).toEqual({ 'token_embd.weight': 'Q6_K' })
    expect(namesOf(assignTypes('Q4_K_S', model, [embedding, matrix('output.weight')]))).toEqual({
      'output.weight': 'Q6_K',
      'token_embd.weight': 'Q4_K',
    })
  })

  it('leaves vectors, norms and routers as they are', () => {
    const tensors = [
      { name: 'blk.0.attn_q.bias', shape: [256], type: 0 },
      { name: 'blk.0.attn_norm.weight', shape: [256, 1], type: 0 },
      { name: 'blk.0.ffn_gate_inp.weight', shape: [256, 8], type: 0 },
      { name: 'blk.0.ffn_up.weight', shape: [256, 1, 1], type: 30 },
    ]
    for (const recipe of Object.keys(recipes)) {
      expect([...assignTypes(recipe, model, tensors).values()].sort()).toEqual([0, 0, 0, 30])
    }
  })

  it('falls back where rows do not divide into blocks', () => {
    const fallback = (recipe: string, row: number) => {
      return assignTypes(recipe, model, [matrix('blk.0.attn_q.weight', row)]).get('blk.0.attn_q.weight')
    }
    expect(fallback('Q4_K_M', 288)).toBe(6) // Q5_0
    expect(fallback('Q5_K_M', 288)).toBe(7) // Q5_1
    expect(fallback('Q6_K', 288)).toBe(formatNamed('Q8_0')?.type)
    expect(fallback('Q3_K_M', 288)).toBe(formatNamed('Q4_0')?.type)
    expect(fallback('Q2_K', 40)).toBe(formatNamed('F16')?.type)
    expect(fallback('Q8_0', 40)).toBe(formatNamed('F16')?.type)
    expect(fallback('NVFP4', 288)).toBe(formatNamed('IQ4_NL')?.type)
    expect(fallback('MXFP4', 40)).toBe(formatNamed('F16')?.type)
    expect(() => fallback('Q1_0', 576)).toThrow(
      'tensor blk.0.attn_q.weight: rows of 576 weights are no whole number of Q1_0 blocks of 128',
    )
  })

  it('gives MXFP4 and NVFP4 every matrix but the output', () => {
    const tensors = ['token_embd', 'output', 'blk.0.attn_v', 'blk.0.ffn_down'].map((name) =>
      matrix(`${name}.weight`),
    )
    for (const recipe of ['MXFP4', 'NVFP4'])
      expect(namesOf(assignTypes(recipe, { ...model, headsKv: 1 }, tensors))).toEqual({
        'token_embd.weight': recipe,
        'output.weight': 'Q6_K',
        'blk.0.attn_v.weight': recipe,
        'blk.0.ffn_down.weight': recipe,
      })
  })

  it('protects the first ffn_down of Q4_0 only with an importance matrix', () => {
    expect([...assignTypes('Q4_0', model, downs, { importance: true }).values()]).toEqual([
      3, 2, 2, 2, 2, 2, 2, 2,
    ])
    expect([...assignTypes('Q4_0', model, downs).values()]).toEqual([2, 2, 2, 2, 2, 2, 2, 2])
  })

  it('says what is wrong with a recipe or a layer', () => {
    expect(() => assignTypes('Q4_K_X', model, [])).toThrow(/Q4_K_X.*one of .*Q4_K_M/)
    expect(() => assignTypes('toString', model, [])).toThrow(QuenchError)
    const experts = { ...model, experts: 4 }
    expect(() => assignTypes('Q4_K_M', experts, [matrix('ffn_down_exps.weight')])).toThrow(QuenchError)
    expect(() => assignTypes('Q4_K_M', experts, [matrix('blk.8.ffn_down.weight')])).toThrow(/below 8/)
  })
})

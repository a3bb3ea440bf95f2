import { readTexts } from '../src/data/texts.js'
import { cutWindows } from '../src/data/windows.js'
import { LlamaModel } from '../src/llama/index.js'
import { selfWritten } from '../src/data/self-written.js'
import { Random } from '../src/random.js'
import { Distillation, TeacherCache } from '../src/train/distillation.js'
import { compensate } from '../src/train/compensation.js'
import { Network } from '../src/train/network.js'
import { ParameterPrograms } from '../src/train/parameter.js'
import { rateAt } from '../src/train/schedule.js'
import { makeStudent, openSource, targetTypes } from '../src/train/source.js'
// args: model text(self:N|path) then configs type:steps:wr:sr:batch[:len]
const [modelPath, textSpec, ...configs] = process.argv.slice(2)
const source = await openSource(modelPath)
const model = await LlamaModel.load(modelPath)
const test = (await readTexts(['models/quench-5m.test.txt'])).map(t => model.tokenize(t))
const programs = new ParameterPrograms()
const caches = new Map<number, { train: Int32Array[], test: Int32Array[], cache: TeacherCache }>()
const nets = new Map<string, Network>()
async function data(len: number) {
  let d = caches.get(len)
  if (!d) {
    let train: Int32Array[]
    if (textSpec.startsWith('self:')) { const t=performance.now(); train = await selfWritten(model, { sequences: Math.ceil(+textSpec.slice(5)/len), length: len, seed: 1, fingerprint: source.fingerprint }); console.log('wrote', train.length*len, 'tokens in', ((performance.now()-t)/1000).toFixed(1),'s') }
    else train = cutWindows((await readTexts([textSpec])).map(t => model.tokenize(t)), len, model)
    const tw = cutWindows(test, len, model)
    const n = Math.floor(8192/len)
    d = { train, test: Array.from({length:n},(_, i)=>tw[Math.floor(i*tw.length/n)]), cache: new TeacherCache(1e9) }
    caches.set(len, d)
  }
  return d
}
for (const c of configs) {
  const [type, steps_, wr_, sr_, batch_, len_, seed_] = c.split(':')
  const steps=+steps_, wr=+wr_, sr=+sr_, batch=+(batch_||2048), len=+(len_||256)
  const { train, test, cache } = await data(len)
  const key = `${batch}:${len}`
  const net = nets.get(key) ?? new Network(source.architecture, source.config, { windows: batch/len, length: len })
  nets.set(key, net)
  const student = await makeStudent(source, targetTypes(source, type))
  const d = new Distillation(net, source.weights, cache, student.parameters, programs, student.frozen)
  await d.round()
  const before = await d.validate(test)
  let comp=''
  if (process.env.COMP) { const tc=performance.now(); const nb=Math.round(+process.env.COMP*2048/batch); const bs = Array.from({length:nb},(_,b)=>{ const t=new Int32Array(batch); for (let i=0;i<batch/len;i++) t.set(train[(b*batch/len+i)%train.length], i*len); return t }); await compensate(net, student.parameters, programs, (d as unknown as {student: Map<string, Float32Array>}).student, source.weights, bs); comp=` comp ${((performance.now()-tc)/1000).toFixed(1)}s -> ${(100*(1-(await d.validate(test)).mean/before.mean)).toFixed(1)}%` }
  const rnd = new Random(+(seed_||1)); let order: Int32Array[] = []
  const t0 = performance.now(); let t1=0
  let mid = ''
  for (let s=1; s<=steps; s++) {
    const w: Int32Array[] = []
    while (w.length < batch/len) { if (!order.length) { order=[...train]; rnd.shuffle(order) } w.push(order.pop()!) }
    const share = rateAt({ steps, warmup: Math.min(10, Math.ceil(steps/4)), floor: 0.02 }, s)
    await d.step(w, s, { weightRate: wr*share, scaleRate: sr*share }, 1)
    if (s===2) t1=performance.now()
  }
  const sec=(performance.now()-t1)/1000*steps/(steps-2)
  const after = await d.validate(test)
  console.log(`${c}: before ${before.mean.toExponential(3)} after ${after.mean.toExponential(3)} recovered ${(100*(1-after.mean/before.mean)).toFixed(1)} %  ${sec.toFixed(1)} s ${(steps*batch/sec).toFixed(0)} tok/s ${comp}`)
}
process.exit(0)

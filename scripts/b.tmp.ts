import { llama } from '../src/models/llama.js'
import { Network } from '../src/train/network.js'
import { modelTensors } from '../src/models/weights.js'
const config: any = { architecture:'llama', layers:5, width:256, vocabulary:2048, context:512, normEpsilon:1e-5, tied:true, heads:4, kvHeads:2, headWidth:64, feedForward:768, attentionScale:1/8, rope:{frequencies: Float64Array.from({length:32},(_, i)=>10000**(-i/32)), magnitude:1}, biases:new Set() }
const W = +(process.argv[2] ?? 4), L = +(process.argv[3] ?? 512)
const w = new Map<string, Float32Array>(), g = new Map<string, Float32Array>()
for (const [n, s] of modelTensors(llama, config)) { const k = s.reduce((a,b)=>a*b,1); w.set(n, Float32Array.from({length:k},()=> s.length===1?1:(Math.random()-.5)*.1)); g.set(n, new Float32Array(k)) }
const net = new Network(llama, config, {windows: W, length: L})
const toks = Int32Array.from({length: W*L}, ()=> Math.floor(Math.random()*2048))
const hidden = (await net.forward(toks, w)).slice()
await net.backward(toks, w, {kind:'teacher', weights: w, hidden}, g)
for (let r=0;r<3;r++){ let t=performance.now(); await net.forward(toks, w); const f=performance.now()-t; t=performance.now(); await net.backward(toks, w, {kind:'teacher', weights: w, hidden}, g); const b=performance.now()-t
console.log(`fwd ${f.toFixed(0)} bwd ${b.toFixed(0)} ms: ${(W*L/(f+b)*1000).toFixed(0)} tok/s`) }

/** The script of the page: sliders, picture, table and words. The picker itself is put before it (`page.ts`). */
export const script = `
const data = JSON.parse(document.getElementById('data').textContent)
const byId = (id) => document.getElementById(id)
const human = (bytes) => (bytes >= 1e9 ? (bytes / 1e9).toFixed(bytes >= 1e10 ? 1 : 2) + ' GB' : Math.round(bytes / 1e6) + ' MB')
const short = (loss) => (loss === 0 ? 'none' : loss >= 0.0995 ? loss.toFixed(2) : loss.toPrecision(2))
const sliders = { ram: byId('ram'), vram: byId('vram'), context: byId('context') }
for (const [name, slider] of Object.entries(sliders)) {
  slider.max = data.stops[name].length - 1
  slider.value = data.start[name]
  slider.addEventListener('input', show)
}
if (data.unified) byId('vram-row').hidden = true
const choice = byId('model')
for (const { id, name } of data.models) choice.append(new Option(name, id))
if (data.models.length < 2) byId('model-row').hidden = true
choice.addEventListener('change', show)

function show() {
  const at = (name) => data.stops[name][Number(sliders[name].value)]
  const context = Number(sliders.context.value)
  byId('ram-value').textContent = at('ram') + ' GB'
  byId('vram-value').textContent = at('vram') === 0 ? 'none' : at('vram') + ' GB'
  byId('context-value').textContent = at('context').toLocaleString('en-US') + ' tokens'
  sliders.ram.setAttribute('aria-valuetext', at('ram') + ' GB')
  sliders.vram.setAttribute('aria-valuetext', at('vram') + ' GB')
  sliders.context.setAttribute('aria-valuetext', at('context') + ' tokens')
  const [ram, vram] = [sliders.ram, data.unified ? sliders.ram : sliders.vram].map(({ value }) => Number(value))
  const limits = { ram: data.usable.ram[ram], vram: data.usable.vram[vram], unified: data.unified, minSpeed: data.minSpeed }
  const files = data.files.filter(({ model }) => model === choice.value)
  const options = files.map((file) => ({ ...file, footprint: file.footprints[context] }))
  const [pick] = picksOf(options, limits)
  const states = new Map(options.map((option) => [option.id, { lack: lackOf(option, limits), place: placeOf(option.footprint, limits) }]))
  words(pick, options, states, at)
  picture(pick, options, states)
  rows(pick, options, states)
}

function words(pick, options, states, at) {
  const verdict = byId('verdict')
  verdict.dataset.pick = pick.best ?? ''
  const named = (id) => options.find((option) => option.id === id)
  const best = named(pick.best)
  const lines = []
  if (best) {
    const { place } = states.get(best.id)
    const where = place.vram === 0 ? human(place.ram) + ' of memory' : data.unified ? human(place.ram + place.vram) + ' of unified memory'
      : human(place.vram) + ' on the card and ' + human(place.ram) + ' of memory'
    lines.push('Take ' + best.name + ': ' + where + ', some ' + (1 / place.seconds).toFixed(1) + ' tokens a second, expected loss ' + short(best.loss)
      + ' (80 %: ' + short(best.interval[0]) + ' to ' + short(best.interval[1]) + ', ' + best.kind + ').')
    const second = named(pick.runnerUp)
    if (second) lines.push('Runner-up: ' + second.name + ', expected loss ' + short(second.loss) + '.')
  } else lines.push('Nothing fits.')
  const next = pick.next ?? pick.closest
  if (next) lines.push(named(next.id).name + (best ? ' would lose less, and lacks ' : ' lacks ')
    + (next.lacks === 'memory' ? human(next.amount) + ' of memory.' : next.amount.toFixed(1) + ' tokens a second.'))
  verdict.replaceChildren(...lines.map((line) => Object.assign(document.createElement('p'), { textContent: line })))
}

const svg = (name, attributes, text) => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  if (text !== undefined) element.textContent = text
  return element
}

function picture(pick, options, states) {
  const [width, height, left, right, top, bottom] = [640, 360, 56, 90, 12, 44]
  const sizes = options.map(({ bytes }) => bytes)
  const floor = 1e-5
  const losses = options.map(({ loss }) => Math.max(loss, floor))
  const most = Math.max(...sizes) * 1.05
  const low = Math.floor(Math.log10(Math.min(...losses)))
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...losses))))
  const x = (bytes) => left + (bytes / most) * (width - left - right)
  const y = (loss) => top + ((high - Math.log10(Math.max(loss, floor))) / (high - low)) * (height - top - bottom)
  const marks = []
  for (let power = low; power <= high; power++) {
    marks.push(svg('line', { x1: left, x2: width - right, y1: y(10 ** power), y2: y(10 ** power), class: 'grid' }))
    marks.push(svg('text', { x: left - 6, y: y(10 ** power) + 4, 'text-anchor': 'end' }, String(Number((10 ** power).toPrecision(1)))))
  }
  for (let i = 0; i <= 4; i++) marks.push(svg('text', { x: x((most * i) / 4), y: height - 22, 'text-anchor': 'middle' }, human((most * i) / 4)))
  marks.push(svg('text', { x: (left + width - right) / 2, y: height - 4, 'text-anchor': 'middle' }, 'size of the file'))
  marks.push(svg('text', { x: -(top + height - bottom) / 2, y: 12, transform: 'rotate(-90)', 'text-anchor': 'middle' }, 'expected loss, nats per token'))
  for (const option of options) {
    const fits = states.get(option.id).lack.lacks === 'nothing'
    const best = option.id === pick.best
    const kind = 'file ' + (best ? 'best' : fits ? 'fits' : 'not')
    const high = Math.min(option.interval[1], 10 ** 3)
    if (option.loss > 0) marks.push(svg('line', { x1: x(option.bytes), x2: x(option.bytes), y1: y(Math.max(option.interval[0], floor)), y2: y(high), class: 'range' }))
    const dot = svg('circle', { cx: x(option.bytes), cy: y(option.loss), r: best ? 8 : 5, class: kind })
    dot.append(svg('title', {}, option.name + ': ' + short(option.loss) + ', ' + option.basis))
    marks.push(dot)
    if (best) marks.push(svg('text', { x: x(option.bytes) + 11, y: y(option.loss) + 4, class: 'label' }, option.name))
  }
  byId('plot').replaceChildren(...marks)
}

function rows(pick, options, states) {
  const body = byId('files').tBodies[0]
  body.replaceChildren(...[...options].sort(inOrder).map((option) => {
    const { lack, place } = states.get(option.id)
    const row = document.createElement('tr')
    if (option.id === pick.best) row.className = 'best'
    const fit = lack.lacks === 'nothing' ? (option.id === pick.best ? 'take it' : 'fits')
      : lack.lacks === 'memory' ? 'lacks ' + human(lack.amount) : 'too slow'
    const cells = [option.name, human(option.bytes), short(option.loss) + ' ' + (option.kind === 'reference' ? '' : option.kind),
      human(place.ram), human(place.vram), (1 / place.seconds).toFixed(1), fit]
    row.append(...cells.map((text) => Object.assign(document.createElement('td'), { textContent: text })))
    return row
  }))
}

show()
`

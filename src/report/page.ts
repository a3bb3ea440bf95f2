/**
 * The report: one self-contained HTML file. Its content security policy forbids network access and every script but its own,
 * whatever the names and texts of the compared files contain.
 */
import { createHash } from 'node:crypto'
import type { ComparedFile, Comparison } from '../compare/comparison.js'
import type { Continuation } from '../compare/continuations.js'
import { firstDifference } from '../compare/continuations.js'
import { humanBytes, plural } from '../format.js'
import { llamaText, unsteady } from './bench.js'
import { threadsOf } from './card.js'
import { seriesColor } from './draw.js'
import { fileTable, nameOf } from './file-table.js'
import { type Html, html, trusted } from './html.js'
import { plotSize, plotSpeed } from './loss-plots.js'
import { plotDocuments, plotTensors, plotTraining } from './plots.js'
import { script, style } from './style.js'

export function reportPage(comparison: Comparison): string {
  const { model, files, verdict, settings, failures, warnings } = comparison
  const hash = createHash('sha256').update(script).digest('base64')
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`
  const title = `${nameOf(model.path)}: ${files.length} quantized files compared`
  const [size, speed] = [plotSize(comparison), plotSpeed(comparison)]
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${trusted(style)}</style>
</head>
<body>
<h1>${title}</h1>
<div class="verdict">${verdict.map((sentence) => html`<p>${sentence}</p>`)}</div>
${failures.map(({ path, problem }) => html`<p><strong>${nameOf(path)} was skipped:</strong> ${problem}</p>`)}
${warnings.map((warning) => html`<p><strong>Note:</strong> ${warning}</p>`)}
<p class="soft">KL divergence is how far a file's predictions are from those of ${nameOf(model.path)}, KL(reference || file), in nats per token; 0 is no loss.
${settings.tokens.toLocaleString('en-US')} tokens were scored, the second half of each of ${settings.windows} windows of ${settings.context} tokens; intervals are 95 %.
<span class="qat">Trained</span> files are QAT, the others PTQ.</p>
<h2>The files</h2>
${fileTable(comparison)}
${figure('size', 'Loss against size', size.picture, `Lower and further left is better.${scaleText(files)} Bars are 95 % intervals; the dashed line is the Pareto front.${hiddenText(size.hidden)}`)}
${figure('speed', 'Loss against speed', speed?.picture, `Lower and further right is better.${scaleText(files)} Horizontal bars are the minimum and maximum of all repetitions.${busyText(files)}${hiddenText(speed?.hidden ?? 0)}`)}
${figure('tensors', 'Error by tensor', plotTensors(comparison), html`Relative error of the weights of each tensor: <span class="ramp"></span> 0.1 % to 100 %, logarithmic colour scale.`)}
${figure('training', 'Training', plotTraining(comparison), 'Validation loss; step 0 is plain PTQ. Bars are two standard errors.')}
${figure('documents', 'Loss by document', plotDocuments(comparison), legend(files))}
<h2>Generated text</h2>
<p class="soft">Greedy continuations of the same prompt. The first token that differs from the full model's is marked.</p>
${comparison.prompts.map((prompt, i) => writings(comparison, prompt.text, i))}
<h2>Pairwise comparison</h2>
${pairTable(comparison)}
<h2>Method</h2>
${settingsList(comparison)}
<script>${trusted(script)}</script>
</body>
</html>
`
  return page.source
}

function figure(
  id: string,
  title: string,
  picture: Html | undefined,
  caption: string | Html,
): Html | undefined {
  if (!picture) return undefined
  return html`<h2>${title}</h2><figure id="plot-${id}">${picture}<figcaption>${caption}</figcaption></figure>`
}

/** The vertical axis of losses; without a logarithm where a file has none. */
const scaleText = (files: readonly ComparedFile[]): string =>
  files.every(({ kld }) => kld.mean > 0) ? ' The vertical axis is logarithmic.' : ''

function busyText(files: readonly ComparedFile[]): string {
  const busy = unsteady(files.flatMap((file) => file.speed ?? []))
  return busy === undefined ? '' : ` Note that ${busy}.`
}

const hiddenText = (hidden: number): string =>
  hidden === 0
    ? ''
    : ` ${hidden} ${hidden === 1 ? 'name has' : 'names have'} no room: point at a dot to read its name.`

function legend(files: readonly ComparedFile[]): Html {
  const item = ({ name }: ComparedFile, i: number) =>
    html`<li><span style="background: ${seriesColor(i)}"></span>${name}</li>`
  return html`<ul class="legend">${files.map(item)}</ul>`
}

function writings({ files, model }: Comparison, prompt: string, i: number): Html {
  const reference = model.continuations[i]
  if (!reference) return html``
  const row = ({ name, continuations }: ComparedFile) => {
    const own = continuations[i]
    return own && html`<tr><td>${name}</td><td>${marked(own, reference)}</td></tr>`
  }
  return html`<table class="write"><tbody><tr><td>prompt</td><td><strong>${prompt}</strong></td></tr>
<tr><td>${nameOf(model.path)}</td><td>${reference.pieces.join('')}</td></tr>${files.map(row)}</tbody></table>`
}

function marked(own: Continuation, reference: Continuation): Html {
  const at = firstDifference(own.tokens, reference.tokens)
  if (at === undefined) return html`<span class="soft">the same</span>`
  const text = (from: number, to?: number) => own.pieces.slice(from, to).join('')
  return html`${text(0, at)}<mark>${text(at, at + 1) || ' (ends here)'}</mark>${text(at + 1)}`
}

function pairTable({ pairs }: Comparison): Html {
  const told = pairs.filter(({ better }) => better !== 'tie')
  const row = ({ a, b, better, difference, p }: Comparison['pairs'][number]) =>
    html`<tr><td>${a}</td><td>${better === 'tie' ? 'not significantly different from' : better === 'a' ? 'better than' : 'worse than'}</td><td>${b}</td>
<td>${difference.toExponential(2)}</td><td>${p < 0.001 ? '< 0.001' : p.toFixed(3)}</td></tr>`
  return html`<details><summary>${told.length} of ${plural(pairs.length, 'pair')} ${told.length === 1 ? 'differs' : 'differ'} significantly</summary><div class="wide"><table>
<thead><tr><th>file</th><th></th><th>other file</th><th>difference of KL divergence, nats per token</th><th>corrected p</th></tr></thead>
<tbody>${pairs.map(row)}</tbody></table></div>
<p class="soft">Paired bootstrap over windows, Holm correction for the number of pairs.</p></details>`
}

function settingsList({ settings, model, files, store }: Comparison): Html {
  const { machine, versions } = settings
  const facts: [string, string][] = [
    [
      'text',
      `${settings.data.map(nameOf).join(', ') || 'written by the model'}; SHA-256 ${settings.textHash}`,
    ],
    ['windows', `${settings.windows} of ${settings.context} tokens, the second half of each scored`],
    [
      'speed',
      settings.repetitions === 0
        ? 'not measured'
        : `median of ${plural(settings.repetitions, 'repetition')}; ${machine.cpu}, ${threadsOf(settings)}, ${humanBytes(machine.memoryBytes)} of memory`,
    ],
    [
      'memory',
      settings.repetitions === 0
        ? 'not measured'
        : `weights, KV cache for ${settings.contextTokens} tokens, and compute buffers`,
    ],
    [
      'threads',
      `${settings.threadsUsed}${settings.threads === null ? ', chosen by the size of the model' : ''}`,
    ],
    ['versions', `quench ${versions.quench}, ${llamaText(machine)}`],
    [
      'measurements',
      `${plural(store.measurements, 'result')} in the store, where a later comparison finds those that it repeats`,
    ],
  ]
  const hashes = [{ name: nameOf(model.path), hash: model.hash }, ...files]
  return html`<dl>${facts.map(([label, value]) => html`<dt>${label}</dt><dd>${value}</dd>`)}${hashes.map(
    ({ name, hash }) => html`<dt>${name}</dt><dd><code>${hash}</code></dd>`,
  )}</dl>`
}

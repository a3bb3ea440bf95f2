/**
 * The report: one self-contained HTML file. Its content security policy forbids network access and every script but its own,
 * whatever the names and texts of the compared files contain.
 */
import { createHash } from 'node:crypto'
import type { ComparedFile, Comparison } from '../compare/comparison.js'
import type { Continuation } from '../compare/continuations.js'
import { firstDifference } from '../compare/continuations.js'
import { humanBytes, plusMinus } from '../format.js'
import { speed as shownSpeed, testName } from './bench.js'
import { threadsOf } from './card.js'
import { seriesColor } from './draw.js'
import { type Html, html, trusted } from './html.js'
import { plotSize, plotSpeed } from './loss-plots.js'
import { plotDocuments, plotTensors, plotTraining } from './plots.js'
import { script, style } from './style.js'
import { lossesText } from './text.js'

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
<p class="soft">KL divergence is how far a file's predictions are from those of ${nameOf(model.path)}, in nats per token; 0 is no loss.
${settings.tokens.toLocaleString('en-US')} tokens were scored, the second half of each of ${settings.windows} windows of ${settings.context} tokens; intervals are 95 %.
<span class="qat">Trained</span> files are QAT, the others PTQ.</p>
<h2>The files</h2>
${fileTable(comparison)}
${glossary(comparison)}
${figure('size', 'Loss against size', size.picture, `Lower and further left is better. Bars are 95 % intervals; the dashed line is the Pareto front.${hiddenText(size.hidden)}`)}
${figure('speed', 'Loss against speed', speed?.picture, `Lower and further right is better. Horizontal bars are the minimum and maximum of all repetitions.${hiddenText(speed?.hidden ?? 0)}`)}
${figure('tensors', 'Error by tensor', plotTensors(comparison), html`Relative error of the weights of each tensor: <span class="ramp"></span> 0.1 % to 100 %, each colour step is a constant factor.`)}
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

const nameOf = (path: string): string => path.split(/[\\/]/).at(-1) ?? path

function figure(
  id: string,
  title: string,
  picture: Html | undefined,
  caption: string | Html,
): Html | undefined {
  if (!picture) return undefined
  return html`<h2>${title}</h2><figure id="plot-${id}">${picture}<figcaption>${caption}</figcaption></figure>`
}

const hiddenText = (hidden: number): string =>
  hidden === 0
    ? ''
    : ` ${hidden} ${hidden === 1 ? 'name has' : 'names have'} no room: point at a dot to read its name.`

/** What the headings of the table mean; those that it has. */
function glossary({ original, files }: Comparison): Html {
  const trained = files.some(({ recovered }) => recovered)
  const terms: readonly (readonly [term: string, meaning: string, there: boolean])[] = [
    ['bits/weight', 'size of the weights in the file, by their number', true],
    ['perplexity', 'e to the mean loss on the text: among how many tokens the model seems to choose', true],
    [
      'KL divergence',
      'how much of the full model’s prediction is lost, on average over tokens, in nats',
      !original,
    ],
    ['conversion loss', 'KL divergence from the checkpoint that was quantized', original !== undefined],
    ['method loss', 'KL divergence from the model before its training', original !== undefined],
    ['95 % interval', 'where the mean would lie on other text of this kind, by resampling of windows', true],
    ['99 % KLD', 'the divergence that one token in a hundred exceeds: how bad the bad ones are', true],
    ['same top token', 'share of tokens on which file and full model think the same one most probable', true],
    ['recovered', 'share of the loss of plain PTQ at the same type that the training took away', trained],
    ['… of the best PTQ file', 'the same, against the best PTQ file that is no larger', trained],
    [
      'as good as',
      'bits per weight that PTQ needs for the same loss, between the files of the table',
      trained,
    ],
    ['Pareto front', 'no other file is both as small and as good', true],
  ]
  const told = terms.filter(([, , there]) => there)
  return html`<details id="terms"><summary>What the columns mean</summary><dl>${told.map(
    ([term, meaning]) => html`<dt>${term}</dt><dd>${meaning}</dd>`,
  )}</dl></details>`
}

function legend(files: readonly ComparedFile[]): Html {
  const item = ({ name }: ComparedFile, i: number) =>
    html`<li><span style="background: ${seriesColor(i)}"></span>${name}</li>`
  return html`<ul class="legend">${files.map(item)}</ul>`
}

interface Column {
  readonly title: string
  /** Whether it may take several lines. */
  readonly wraps?: true
  /** The displayed value, and the sort key. */
  readonly cell: (file: ComparedFile) => readonly [shown: string | Html, value: string | number]
}

function fileTable(comparison: Comparison): Html {
  const { files, model, original } = comparison
  const losses = lossesText(comparison)
  const range = ([low, high]: readonly [number, number], digits: number) =>
    `${low.toFixed(digits)} - ${high.toFixed(digits)}`
  const percent = (share: number) => `${(100 * share).toFixed(1)}\u00a0%`
  // It breaks before the interval alone.
  const shareText = ({ value, interval: [low, high] }: NonNullable<ComparedFile['recovered']>): string =>
    `${percent(value)} (${(100 * low).toFixed(1)}\u00a0-\u00a0${percent(high)})`
  const columns: Column[] = [
    {
      title: 'file',
      cell: ({ name, method }) => [method === 'qat' ? html`<span class="qat">${name}</span>` : name, name],
    },
    { title: 'size', cell: ({ bytes }) => [humanBytes(bytes), bytes] },
    { title: 'bits/weight', cell: ({ bitsPerWeight }) => [bitsPerWeight.toFixed(2), bitsPerWeight] },
    {
      title: 'perplexity',
      cell: ({ perplexity }) => [
        `${perplexity.mean.toFixed(3)} ${plusMinus(perplexity.se, 3)}`,
        perplexity.mean,
      ],
    },
    ...(original
      ? [
          {
            title: 'method loss',
            cell: ({ original: loss }: ComparedFile) =>
              loss ? ([loss.kld.mean.toFixed(5), loss.kld.mean] as const) : (['', ''] as const),
          },
        ]
      : []),
    {
      title: original ? 'conversion loss' : 'KL divergence',
      cell: ({ kld }) => [kld.mean.toFixed(5), kld.mean],
    },
    { title: '95 % interval', cell: ({ kldInterval }) => [range(kldInterval, 5), kldInterval[0]] },
    { title: '99 % KLD', cell: ({ kld }) => [kld.p99.toFixed(4), kld.p99] },
    { title: 'same top token', cell: ({ top1 }) => [percent(top1.mean), top1.mean] },
    {
      title: 'recovered',
      wraps: true,
      cell: ({ recovered: r }) => (r ? [shareText(r), r.value] : ['', '']),
    },
    {
      title: '… of the best PTQ file',
      wraps: true,
      cell: ({ recoveredOfBest: r }) => (r ? [`${shareText(r)} of ${r.opponent}`, r.value] : ['', '']),
    },
    {
      title: 'as good as',
      wraps: true,
      cell: ({ effectiveBits: e }) =>
        e ? [`${sign(e.bound)}${e.value.toFixed(2)} bits (${range(e.interval, 2)})`, e.value] : ['', ''],
    },
    ...(files.some(({ speed }) => speed)
      ? [
          {
            title: 'memory',
            cell: ({ speed, neededBytes }: ComparedFile) =>
              [speed ? humanBytes(neededBytes) : '', neededBytes] as const,
          },
        ]
      : []),
    ...(files[0]?.speed?.tests ?? []).map(
      (test, t): Column => ({
        title: `${testName(test)}, tokens/s`,
        cell: ({ speed }) => {
          const measured = speed?.tests[t].tokensPerSecond
          return measured ? [shownSpeed(measured.median), measured.median] : ['', '']
        },
      }),
    ),
    { title: 'Pareto front', cell: ({ onFront }) => [onFront ? 'yes' : 'no', onFront ? 1 : 0] },
  ]
  const row = (file: ComparedFile) =>
    html`<tr>${columns.map(({ cell, wraps }) => {
      const [shown, value] = cell(file)
      return html`<td data-value="${value}"${trusted(wraps ? ' class="wraps"' : '')}>${shown}</td>`
    })}</tr>`
  return html`<div class="wide"><table class="sorts" id="files"><thead><tr>${columns.map(
    ({ title }) => html`<th scope="col"><button type="button">${title}</button></th>`,
  )}</tr></thead><tbody>${files.map(row)}</tbody></table></div>
<p class="soft">Full precision: ${nameOf(model.path)}, ${model.type}, ${humanBytes(model.bytes)}, perplexity ${model.perplexity.mean.toFixed(3)}.${losses === undefined ? '' : html` ${losses}.`}</p>`
}

const sign = (bound: 'exact' | 'atLeast' | 'atMost'): string =>
  ({ exact: '', atLeast: '≥ ', atMost: '≤ ' })[bound]

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
  return html`<details><summary>${told.length} of ${pairs.length} pairs differ significantly</summary><div class="wide"><table>
<thead><tr><th>file</th><th></th><th>other file</th><th>KL divergence difference</th><th>corrected p</th></tr></thead>
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
        : `median of ${settings.repetitions} repetitions; ${machine.cpu}, ${threadsOf(settings)}, ${humanBytes(machine.memoryBytes)} of memory`,
    ],
    [
      'memory',
      settings.repetitions === 0
        ? 'not measured'
        : `weights, KV cache for ${settings.contextTokens} tokens, and compute buffers`,
    ],
    ['threads', settings.threads === null ? 'chosen by model size' : String(settings.threads)],
    ['versions', `quench ${versions.quench}, llama.cpp packages ${versions.llama}`],
    ['measurements', `${store.measurements} stored`],
  ]
  const hashes = [{ name: nameOf(model.path), hash: model.hash }, ...files]
  return html`<dl>${facts.map(([label, value]) => html`<dt>${label}</dt><dd>${value}</dd>`)}${hashes.map(
    ({ name, hash }) => html`<dt>${name}</dt><dd><code>${hash}</code></dd>`,
  )}</dl>`
}

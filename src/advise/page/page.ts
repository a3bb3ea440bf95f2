/**
 * The page of `quench advise --open`: one self-contained HTML file with sliders. Its content security policy forbids network access and
 * every script but its own; names of files are data that the script shows as text.
 */
import { createHash } from 'node:crypto'
import { html, trusted } from '../../report/html.js'
import { excessOf, inOrder, lackOf, loadAfter, picksOf, placeOf } from '../pick.js'
import type { PageData } from './data.js'
import { script } from './script.js'

/** The picker as the page runs it. Compilers that keep names wrap functions in calls of `__name`. */
const picker = [
  'const __name = (value) => value',
  ...[loadAfter, excessOf, placeOf, lackOf, inOrder, picksOf].map(String),
].join('\n')

const style = `
:root { color-scheme: light dark; --text: #1c1e21; --soft: #5f6670; --back: #ffffff; --panel: #f5f6f8; --line: #d9dce1; --best: #c2410c; --fits: #2f5fc4; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --soft: #a3abb5; --back: #15171a; --panel: #1f2226; --line: #383d44; --best: #ff9d66; --fits: #8ab0ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); }
h1 { font-size: 1.5rem; margin: 0.5rem 0; }
#verdict { background: var(--panel); border-left: 4px solid var(--best); padding: 0.75rem 1rem; font-size: 1.1rem; min-height: 6rem; } #verdict p { margin: 0.25rem 0; overflow-wrap: anywhere; }
.sliders { display: grid; gap: 0.5rem; margin: 1rem 0; } .sliders > div:not([hidden]) { display: grid; grid-template-columns: 12rem 1fr 8rem; gap: 0.75rem; align-items: center; }
input[type=range] { width: 100%; min-height: 2rem; accent-color: var(--best); } select { font: inherit; max-width: 100%; } :focus-visible { outline: 3px solid var(--fits); outline-offset: 2px; }
.wide { overflow-x: auto; } svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; } svg .label { fill: var(--text); font-weight: 600; }
.grid { stroke: var(--line); } .range { stroke: var(--line); stroke-width: 2; } .file.best { fill: var(--best); } .file.fits { fill: var(--fits); } .file.not { fill: var(--back); stroke: var(--soft); }
table { border-collapse: collapse; width: 100%; font-size: 0.875rem; } th, td { padding: 0.3rem 0.5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; } th:first-child, td:first-child { text-align: left; }
tr.best { color: var(--best); font-weight: 600; } .soft { color: var(--soft); font-size: 0.875rem; }
@media (max-width: 40rem) { body { padding: 0.75rem; font-size: 15px; } .sliders > div:not([hidden]) { grid-template-columns: 1fr auto; } .sliders input, .sliders select { grid-column: 1 / -1; } }
`

export function advicePage(data: PageData): string {
  const code = `'use strict';\n${picker}\n${script}`
  const hash = createHash('sha256').update(code).digest('base64')
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`
  const slider = (id: string, label: string) =>
    html`<div id="${id}-row"><label for="${id}">${label}</label><input type="range" id="${id}" min="0" step="1"><output id="${id}-value" for="${id}"></output></div>`
  const heads = ['file', 'size', 'expected loss', 'memory', 'on the card', 'tokens/s', '']
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Which file to take</title>
<style>${trusted(style)}</style>
</head>
<body>
<h1>Which file to take</h1>
<div class="sliders">
<div id="model-row"><label for="model">Model</label><select id="model"></select></div>
${slider('ram', data.unified ? 'Unified memory' : 'Memory of the system')}
${slider('vram', data.gpu === undefined ? 'Graphics card' : `Memory of ${data.gpu}`)}
${slider('context', 'Context')}
</div>
<div id="verdict" role="status" aria-live="polite"></div>
<div class="wide"><svg id="plot" viewBox="0 0 640 360" role="img" aria-label="Expected loss against size of the file"></svg></div>
<div class="wide"><table id="files"><thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead><tbody></tbody></table></div>
<p class="soft">A loss is the KL divergence from the full-precision model in nats per token; lines are 80 % intervals. It ranks files of one model. Filled
files fit${data.minSpeed > 0 ? html` and write at least ${data.minSpeed} tokens a second` : ''}. Speeds are estimates.</p>
<script type="application/json" id="data">${trusted(JSON.stringify(data).replaceAll('<', '\\u003c'))}</script>
<script>${trusted(code)}</script>
</body>
</html>
`.source
}

/** Style and script of the report page. Nothing is fetched: fonts are the system's. */

export const style = `
:root { color-scheme: light dark; --text: #1c1e21; --soft: #5f6670; --back: #ffffff; --panel: #f5f6f8; --line: #d9dce1;
  --ptq: #2f5fc4; --qat: #c2410c; --front: #5f6670; --mark: #ffd8a8;
  --series-0: #2f5fc4; --series-1: #c2410c; --series-2: #2b8a3e; --series-3: #9c36b5; --series-4: #b08900;
  --series-5: #0b7285; --series-6: #d6336c; --series-7: #6b4f2a; --series-8: #495057; --series-9: #66a80f; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --soft: #a3abb5; --back: #15171a; --panel: #1f2226; --line: #383d44;
  --ptq: #8ab0ff; --qat: #ff9d66; --front: #a3abb5; --mark: #7a4a12;
  --series-0: #8ab0ff; --series-1: #ff9d66; --series-2: #69db7c; --series-3: #e599f7; --series-4: #ffd43b;
  --series-5: #66d9e8; --series-6: #faa2c1; --series-7: #d4b483; --series-8: #ced4da; --series-9: #c0eb75; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 110rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); }
h1 { font-size: 1.5rem; margin: 0.5rem 0; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem; }
.verdict { background: var(--panel); border-left: 4px solid var(--qat); padding: 0.75rem 1rem; font-size: 1.1rem; }
.verdict p { margin: 0.25rem 0; } .soft, figcaption { color: var(--soft); font-size: 0.875rem; }
.wide, figure { overflow-x: auto; } figure { margin: 0; } figure svg { min-width: 34rem; max-width: 100%; height: auto; } .verdict, .soft, figcaption, figure { max-width: 60rem; } .write, details, dl { max-width: 72rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.875rem; } th, td { padding: 0.3rem 0.5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
#files { font-size: 0.8125rem; } #files th, #files td { padding: 0.3rem 0.35rem; } th { vertical-align: bottom; white-space: normal; } .wraps { white-space: normal; min-width: 6.5rem; }
th:first-child, td:first-child { text-align: left; } #files th:first-child, #files td:first-child { position: sticky; left: 0; background: var(--back); } th button { font: inherit; font-weight: 600; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
th[aria-sort=ascending] button::after { content: " \\2191"; } th[aria-sort=descending] button::after { content: " \\2193"; }
.qat { color: var(--qat); font-weight: 600; } .write td { white-space: pre-wrap; overflow-wrap: anywhere; text-align: left; vertical-align: top; } .write td:first-child { max-width: 14rem; }
mark { background: var(--mark); color: inherit; } code { overflow-wrap: anywhere; font-size: 0.8rem; } dl { display: grid; grid-template-columns: fit-content(40%) 1fr; gap: 0.2rem 1rem; font-size: 0.875rem; } dt, dd { margin: 0; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; font-size: 0.875rem; list-style: none; padding: 0; margin: 0.25rem 0; }
.legend span { display: inline-block; width: 0.7rem; height: 0.7rem; border-radius: 50%; margin-right: 0.3rem; }
.ramp { display: inline-block; width: 8rem; height: 0.7rem; background: linear-gradient(90deg, #440154, #414487, #2a788e, #22a884, #7ad151, #fde725); }
@media (max-width: 40rem) { body { padding: 0.75rem; font-size: 15px; } .verdict { font-size: 1rem; } dl { grid-template-columns: 1fr; } dt { color: var(--soft); }
  .write td { display: block; } .write td:first-child { border: 0; padding-bottom: 0; color: var(--soft); } }
@media print { body { max-width: none; color: #000; background: #fff; } figure, .verdict, .write { break-inside: avoid; } details > * { display: block; } figure svg { min-width: 0; } }
`

/** Sorts a table by the column whose heading is clicked; a second click reverses the order. */
export const script = `
for (const table of document.querySelectorAll('table.sorts')) {
  const heads = [...table.tHead.rows[0].cells]
  heads.forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
    const up = head.getAttribute('aria-sort') !== 'ascending'
    for (const other of heads) other.removeAttribute('aria-sort')
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending')
    const value = (row) => row.cells[column].dataset.value ?? ''
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)]
      if (x === '' || y === '') return (x === '') - (y === '')
      const by = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y
      return up ? by : -by
    }
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order))
  }))
}
`

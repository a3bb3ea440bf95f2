/**
 * `build` makes `site/dist`, `dev` serves the site on loopback. Installs what is missing in this folder, and refuses a site
 * that loads anything from elsewhere. What follows goes to VitePress, such as `--base /quench/` or `--port 8080`.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, watch } from 'node:fs'
import { join } from 'node:path'
import { copyPages, root, target } from './pages.js'

const here = import.meta.dirname

function run(command, ...args) {
  const { status, error } = spawnSync(command, args, {
    cwd: here,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}
const tool = (file, ...args) => run(process.execPath, join(here, 'node_modules', file), ...args)

/** Whether the folder has the packages of its lock file. */
function installed() {
  const marker = join(here, 'node_modules/.package-lock.json')
  return existsSync(marker) && statSync(marker).mtimeMs >= statSync(join(here, 'package-lock.json')).mtimeMs
}

const elsewhere = {
  '.html':
    /<(?:script|link|img|iframe|source|audio|video|object|embed)\b[^>]*(?:src|srcset|href|data)="(?:https?:)?\/\/[^>]*>/gi,
  '.css': /(?:url\(|@import)\s*["']?(?:https?:)?\/\/[^)"';]*/gi,
}

/** What the pages and style sheets of a folder load from elsewhere. */
function loads(folder) {
  return readdirSync(folder, { recursive: true }).flatMap((name) => {
    const pattern = elsewhere[/\.\w+$/.exec(name)?.[0]]
    if (!pattern) return []
    return (readFileSync(join(folder, name), 'utf8').match(pattern) ?? []).map((found) => `${name}: ${found}`)
  })
}

const [command, ...rest] = process.argv.slice(2)
if (command !== 'build' && command !== 'dev') {
  console.error('node site/run.js build | dev')
  process.exit(2)
}
if (!existsSync(join(here, '../node_modules/@types/node'))) {
  console.error('The types of the sources are not installed: run npm ci first.')
  process.exit(1)
}
if (!installed()) run('npm', 'ci', '--no-audit', '--no-fund')
rmSync(target, { recursive: true, force: true })
copyPages()
tool('typedoc/bin/typedoc', '--logLevel', 'Error')
const vitepress = 'vitepress/bin/vitepress.js'
if (command === 'build') {
  tool(vitepress, 'build', ...rest)
  const found = loads(join(here, 'dist'))
  for (const line of found) console.error(`loaded from elsewhere: ${line}`)
  if (found.length > 0) process.exit(1)
} else {
  // A page that changes is copied again, and the browser shows it.
  for (const folder of [root, join(root, 'docs')])
    watch(folder, (_, name) => {
      if (name?.endsWith('.md') && existsSync(join(folder, name))) copyPages()
    })
  const server = spawn(process.execPath, [join(here, 'node_modules', vitepress), 'dev', ...rest], {
    cwd: here,
    stdio: 'inherit',
  })
  server.on('exit', (code) => process.exit(code ?? 1))
}

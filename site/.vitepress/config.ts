import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type DefaultTheme, defineConfig } from 'vitepress'

const pages = join(import.meta.dirname, '../pages')

/** Pages of `docs/` in the order of the sidebar. */
const docs: Record<string, string> = {
  make: 'Make',
  models: 'Naming models',
  prove: 'Prove',
  advise: 'Which file to take',
  formats: 'Formats',
  'memory-and-time': 'Memory and time',
  'resume-and-cache': 'Resuming and cache',
  demo: 'Demo',
  compare: 'Example comparison',
  'command-line': 'Command line',
  options: 'Commands and options',
  api: 'API',
}
for (const name of readdirSync(join(pages, 'docs')))
  if (name.endsWith('.md') && !(name.slice(0, -3) in docs))
    throw new Error(`docs/${name} is not in the sidebar: name it in site/.vitepress/config.ts`)

/** Pages of the root in the order of the sidebar. */
const project: Record<string, string> = {
  ARCHITECTURE: 'Architecture',
  CONTRIBUTING: 'Contributing',
  SECURITY: 'Security',
  CHANGELOG: 'Changelog',
  LOG: 'Log',
}

/** The generated pages of one kind of export, by name. */
function exported(text: string, ...kinds: string[]): DefaultTheme.SidebarItem {
  const items = kinds.flatMap((kind) => {
    const folder = join(pages, 'api', kind)
    if (!existsSync(folder)) return []
    return readdirSync(folder).map((file) => {
      const name = file.slice(0, -3)
      return { text: name, link: `/api/${kind}/${name}` }
    })
  })
  items.sort((a, b) => a.text.localeCompare(b.text, 'en'))
  return { text, collapsed: true, items }
}

const known = new Set(['functions', 'classes', 'interfaces', 'types', 'variables', 'index.md'])
for (const name of readdirSync(join(pages, 'api')))
  if (!known.has(name)) throw new Error(`pages/api/${name} is not in the sidebar`)

export default defineConfig({
  title: 'quench',
  description: 'Make quantized GGUF language models that lose less, and prove it.',
  lang: 'en',
  srcDir: 'pages',
  outDir: 'dist',
  vite: {
    server: { host: '127.0.0.1' },
    preview: { host: '127.0.0.1' },
  },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Make', link: '/docs/make' },
      { text: 'Prove', link: '/docs/prove' },
      { text: 'API', link: '/docs/api' },
    ],
    sidebar: [
      {
        text: 'Documentation',
        items: [
          { text: 'Start', link: '/' },
          ...Object.entries(docs)
            .filter(([name]) => name !== 'api')
            .map(([name, text]) => ({ text, link: `/docs/${name}` })),
        ],
      },
      {
        text: 'API',
        items: [
          { text: 'Overview', link: '/docs/api' },
          { text: 'All exports', link: '/api/' },
          exported('Functions', 'functions'),
          exported('Classes', 'classes'),
          exported('Types', 'interfaces', 'types'),
          exported('Constants', 'variables'),
        ],
      },
      {
        text: 'Project',
        items: Object.entries(project).map(([name, text]) => ({ text, link: `/${name}` })),
      },
    ],
  },
})

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, posix, resolve } from 'node:path'

export const root = resolve(import.meta.dirname, '..')
/** Where the site is built from: copies of the repository's pages, and `api`, which typedoc writes. Not under version control. */
export const target = join(import.meta.dirname, 'pages')

const sources = () => [
  ...['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md', 'LOG.md'],
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
  'texts/SOURCES.md',
]

function copy(file, to) {
  const path = join(target, to)
  mkdirSync(dirname(path), { recursive: true })
  copyFileSync(join(root, file), path)
}

/** Copies the pages, and the pictures and other files that they link to. README becomes the first page. */
export function copyPages() {
  const pages = sources()
  for (const page of pages) {
    const text = readFileSync(join(root, page), 'utf8').replace(
      /\]\((?![a-z]+:|[#/])([^)\s#]+)(#[^)\s]*)?\)/g,
      (link, path, hash = '') => {
        const file = posix.join(posix.dirname(page), path)
        if (file === 'README.md') return `](${posix.relative(posix.dirname(page), 'index.md')}${hash})`
        if (pages.includes(file) || !existsSync(join(root, file)) || !statSync(join(root, file)).isFile())
          return link
        // Vite takes pictures that are shown from beside the page; what is only linked to is served as it is.
        copy(file, file)
        copy(file, `public/${file}`)
        return link
      },
    )
    const path = join(target, page === 'README.md' ? 'index.md' : page)
    mkdirSync(dirname(path), { recursive: true })
    if (!existsSync(path) || readFileSync(path, 'utf8') !== text) writeFileSync(path, text)
  }
}

// Makes the built command executable. npx does so only when it links a package for the first time, not after it is built anew.
import { chmodSync } from 'node:fs'

chmodSync(new URL('../dist/cli/main.js', import.meta.url), 0o755)

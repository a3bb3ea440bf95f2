/**
 * A program that uses the public API, the module of the first argument, on a thread of its own: the demo with few tokens, into the folder
 * of the second argument, until its first training has begun to compute.
 */
import { argv, exit } from 'node:process'
import { pathToFileURL } from 'node:url'
import { isMainThread, Worker, workerData } from 'node:worker_threads'

if (isMainThread) new Worker(new URL(import.meta.url), { workerData: argv.slice(2) })
else {
  const [index, folder] = workerData
  const { demo } = await import(pathToFileURL(index))
  await demo({
    folder,
    steps: 1,
    tokens: 512,
    onProgress: (event) => {
      if (event.stage === 'train' && event.event.stage !== 'measure') exit(0)
    },
  })
}

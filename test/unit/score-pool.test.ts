/** What becomes of work when a thread that scores ends by itself. */
import { Worker } from 'node:worker_threads'
import { expect, test, vi } from 'vitest'
import { QuenchError } from '../../src/errors.js'
import { ScorePool } from '../../src/evaluate/score-pool.js'

test('a thread that is gone ends all work with a sentence, instead of letting it wait', async () => {
  const made: Worker[] = []
  // The threads get nothing to do, so that they cannot be done before they end.
  const post = vi.spyOn(Worker.prototype, 'postMessage').mockImplementation(function (this: Worker) {
    made.push(this)
  })
  const pool = new ScorePool({ size: 8, rows: 2, topCount: 1, bases: 1, threads: 4 })
  try {
    const { scores } = await pool.setBase(0, new Float32Array(16), Int32Array.of(1, 2), 0)
    expect(made).toHaveLength(2)
    await made[1].terminate()
    const error = await scores.catch((e: unknown) => e)
    expect(error).toBeInstanceOf(QuenchError)
    expect((error as Error).message).toMatch(/^the thread that scores predictions has ended before its work/)
    const later = await pool.setBase(0, new Float32Array(16), Int32Array.of(1, 2), 2)
    await expect(later.scores).rejects.toThrow('the thread that scores predictions has ended')
  } finally {
    post.mockRestore()
    await pool.close()
  }
})

// bcrypt alone: compares for as long as the parent asks, one comparison per core at a time, and reports comparisons per second.
import { availableParallelism } from 'node:os'
import bcrypt from 'bcrypt'

const hash = await bcrypt.hash('correct horse battery staple', Number(process.env.COST))
process.send('ready')
process.on('message', async seconds => {
  const startedAt = performance.now()
  let done = 0
  let doneAt = startedAt
  await Promise.all(Array.from({ length: availableParallelism() }, async () => {
    while (performance.now() - startedAt < seconds * 1000) {
      await bcrypt.compare('correct horse battery staple', hash)
      done++
      doneAt = performance.now()
    }
  }))
  process.send(done / (doneAt - startedAt) * 1000)
})
process.once('SIGTERM', () => process.exit(0))

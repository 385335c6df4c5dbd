import t from 'tap'
import { afterCommit, type Tx } from '../../src/database/transaction.js'
import { onEachGround } from '../fixtures/app.js'

onEachGround(t, async (t, ground) => {
  const database = await ground.database()
  t.teardown(() => database.close())

  t.test('work deferred until after the COMMIT runs then, in order, before the caller continues', async t => {
    const done: string[] = []
    const outcome = await database.transaction(async tx => {
      afterCommit(tx, () => done.push('first'))
      afterCommit(tx, () => done.push('second'))
      t.same(done, [], 'not within the transaction')
      return 'outcome'
    })
    t.equal(outcome, 'outcome')
    t.same(done, ['first', 'second'])
  })

  t.test('it never runs after a rollback', async t => {
    const done: string[] = []
    await t.rejects(database.transaction(async tx => {
      afterCommit(tx, () => done.push('rolled back'))
      throw new Error('no')
    }), /no/)
    await database.transaction(async tx => { afterCommit(tx, () => done.push('committed')) })
    t.same(done, ['committed'])
  })

  t.test('nothing can be deferred to the COMMIT of a transaction that is not ours', async t => {
    t.throws(() => afterCommit({} as unknown as Tx, () => {}), /runTransaction/)
  })
})

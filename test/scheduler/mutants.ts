import type { Transactions } from '../../src/database/transaction.js'
import type { Trust } from '../../src/revocation/epoch.js'
import type { Epoch } from '../../src/revocation/store.js'
import type { CacheBackend, Identity } from '../../src/token-cache/backend.js'
import type { TokenState } from '../../src/tokens/principal.js'
import type { Api, Mutant } from './deployment.js'
import type { ScheduleName } from './named.js'
import type { Fault } from './plan.js'
import type { DatabaseRules } from './postgres.js'

/** A removed rule, and what must catch it: a named schedule, or random ones with these faults. */
export interface RemovedRule { rule: string, shownBy: ScheduleName | Fault[], mutant: Mutant }

/** `link` with some of its commands replaced; `connection` stays live. */
function relink (link: CacheBackend, replaced: Partial<CacheBackend>): CacheBackend {
  return {
    get connection () { return link.connection },
    get: link.get,
    takeLease: link.takeLease,
    compareAndSet: link.compareAndSet,
    overwrite: link.overwrite,
    identify: link.identify,
    close: link.close,
    ...replaced
  }
}

/** An epoch whose trust, after the first time, is computed by `from`. */
function retrust (api: Api, from: (now: Trust | null, last: Trust) => Trust | null): Mutant['epoch'] {
  return real => {
    let last: Trust | null = null
    const trust = () => {
      const now = real.trust()
      last = now ?? last
      return last === null ? null : from(now, last)
    }
    return { ...real, trust, still: before => trust()?.generation === before.generation && before.connection === api.link.connection }
  }
}

const underWay = new WeakMap<Api, Promise<Epoch>>()

/** Every rule that can be removed from the real code by wrapping it. */
export const removedRules: RemovedRule[] = [
  {
    rule: 'a fill happens only where its lease stands',
    shownBy: [],
    mutant: {
      link: link =>
        relink(
          link,
          {
            compareAndSet: (
              key,
              expected,
              value,
              ttlMs
            ) => value.startsWith('V') ? link.overwriteWith(key, value, ttlMs) : link.compareAndSet(key, expected, value, ttlMs)
          }
        )
    }
  },
  {
    rule: 'the generation is captured before the database is read',
    shownBy: 'a fill delayed past two generations keeps its old generation',
    mutant: {
      link: (
        link,
        api
      ) =>
        relink(
          link,
          {
            compareAndSet: (
              key,
              expected,
              value,
              ttlMs
            ) => link.compareAndSet(key, expected, value.replace(/^V\d+/, `V${api.epoch.trust()?.generation ?? 0}`), ttlMs)
          }
        )
    }
  },
  {
    rule: 'an entry of another generation is not believed',
    shownBy: ['cutAll'],
    mutant: {
      link: (link, api) => relink(link, {
        get: async key => (await link.get(key))?.replace(/^V\d+/, `V${api.epoch.trust()?.generation ?? 0}`) ?? null
      })
    }
  },
  {
    rule: 'trust ends H after the poll was sent',
    shownBy: 'a poll that fails leaves no trust past H',
    mutant: {
      epoch: (real, api) => retrust(api, (now, last) => now ?? (api.link.connection === last.connection ? last : null))?.(real, api) ?? real
    }
  },
  {
    rule: 'a poll counts from its sending, with what it read',
    shownBy: 'trust ends H after the poll was sent, however late its reply',
    mutant: {
      epochStore (real) {
        let before: ReturnType<typeof real.poll> | null = null
        return {
          ...real,
          poll (timeoutMs) {
            const next = real.poll(timeoutMs)
            next.catch(() => {})
            const answer = before ?? next
            before = next
            return answer
          }
        }
      }
    }
  },
  {
    rule: 'another connection is another server',
    shownBy: ['failover'],
    mutant: {
      link (link) {
        return {
          ...relink(link, {
            overwrite: async (keys, ttlMs) => ({ ...await link.overwrite(keys, ttlMs), connection: 1 }),
            identify: async () => ({ ...await link.identify(), connection: 1 })
          }),
          connection: 1
        }
      }
    }
  },
  {
    rule: 'INFO on this connection says which server it leads to',
    shownBy: ['failover'],
    mutant: {
      link (link) {
        let first: string | null = null
        return relink(link, {
          async identify () {
            const who = await link.identify()
            first ??= who.incarnation
            return { ...who, incarnation: first }
          }
        })
      }
    }
  },
  {
    rule: 'a look-up is a command that a replica refuses',
    shownBy: 'a master that becomes a replica under its connections is not believed',
    mutant: { link: link => relink(link, { get: key => link.getUnvouched(key) }) }
  },
  {
    rule: 'registering another server bumps the generation',
    shownBy: ['failover'],
    mutant: {
      epochStore: (real, _api, { database }) => ({
        ...real,
        async register (incarnation, generation, timeoutMs) {
          const done = await real.register(incarnation, generation, timeoutMs)
          if (done) database.seed(({ epoch }) => { epoch.generation = generation })
          return done
        }
      })
    }
  },
  {
    rule: 'an answer waits for settling',
    shownBy: [],
    mutant: { settle: real => ({ ...real, settle: async committed => { void real.settle(committed).catch(() => {}) } }) }
  },
  {
    rule: 'every reply of the overwrite is checked',
    shownBy: 'a peer settles for an instance that is cut off',
    mutant: {
      link: (link, api) => relink(link, {
        async overwrite (keys, ttlMs) {
          try {
            return await link.overwrite(keys, ttlMs)
          } catch (error) {
            const trust = api.epoch.trust()
            if (trust === null) throw error
            return await link.identify().catch(() => ({ connection: trust.connection, incarnation: 'run1:replication1:0' }))
          }
        }
      })
    }
  },
  {
    rule: 'the epoch is read after the overwrite',
    shownBy: ['failover'],
    mutant: {
      epochStore: real =>
        ({
          ...real,
          finish: async (
            ids,
            incarnation
          ) => { void real.finish(ids, incarnation).catch(() => {}); return { generation: 0, incarnation, retired: 1 } }
        })
    }
  },
  {
    rule: 'the server overwritten has to be the registered one',
    shownBy: ['failover'],
    mutant: {
      epochStore: real => ({ ...real, finish: async (ids, incarnation) => ({ ...await real.finish(ids, incarnation), incarnation }) })
    }
  },
  {
    rule: 'a young generation is waited for',
    shownBy: ['failover'],
    mutant: { epoch: real => ({ ...real, msUntilPolledByAll: (epoch: Epoch) => { real.msUntilPolledByAll(epoch); return 0 } }) }
  },
  {
    rule: 'a bump is waited for',
    shownBy: 'trust ends H after the poll was sent, however late its reply',
    mutant: { epochStore: real => ({ ...real, bump: async () => ({ ...await real.bump(), generation: 0 }) }) }
  },
  {
    rule: 'a bump changes the generation',
    shownBy: ['cutAll'],
    mutant: {
      epochStore: (
        real,
        _api,
        { database }
      ) =>
        ({
          ...real,
          async bump () { const before = database.epoch.generation; const after = await real.bump(); database.seed(({ epoch }) => { epoch.generation = before }); return after }
        })
    }
  },
  {
    rule: 'a settlement is left for the others, in the same transaction',
    shownBy: 'a revocation whose revoker died takes effect within 3 s and H',
    mutant: { epochStore: real => ({ ...real, insertSettlement: async () => {} }) }
  },
  {
    rule: 'an old settlement takes trust away',
    shownBy: ['unacknowledged'],
    mutant: { epochStore: real => ({ ...real, poll: async timeoutMs => ({ ...await real.poll(timeoutMs), oldestSettlementMs: null }) }) }
  },
  {
    rule: 'a settlement is deleted once its entries are overwritten',
    shownBy: 'a peer settles for an instance that is cut off',
    mutant: {
      epochStore: real =>
        ({ ...real, assist: (overdueMs, settle) => real.assist(overdueMs, async hashes => await settle(hashes.slice(0, 0))) })
    }
  },
  {
    rule: 'a repeated revocation names what is revoked already',
    shownBy: ['crash', 'unacknowledged'],
    mutant: {
      tokenStore (real, _api, { database }) {
        return {
          ...real,
          revokedOfUser: async (
            tx,
            userId,
            within
          ) => (await real.revokedOfUser(tx, userId, within)).filter(hash => database.tokens.get(hash.hex())?.revokedAt === null)
        }
      }
    }
  },
  {
    rule: 'a read of the database that was sent is not joined',
    shownBy: [],
    mutant: {
      tokenStore (real) {
        const sent = new Map<string, Promise<Map<string, TokenState>>>()
        return {
          ...real,
          find (hexes, nowMs) {
            const key = hexes.join()
            const answer = sent.get(key) ?? real.find(hexes, nowMs).finally(() => sent.delete(key))
            sent.set(key, answer)
            return answer
          }
        }
      }
    }
  },
  {
    rule: 'an issued token takes its lease before its COMMIT',
    shownBy: 'a token revoked between its COMMIT and its fill is not filled',
    mutant: {
      cache: real => ({
        ...real,
        prepare: async hash => principal => { void real.prepare(hash).then(fill => fill?.(principal)) }
      })
    }
  },
  {
    rule: 'settling begins once the COMMIT was acknowledged',
    shownBy: [],
    mutant: {
      transactions: (real): Transactions => ({
        transaction: work => new Promise((resolve, reject) => {
          real.transaction(async tx => {
            const done = await work(tx)
            resolve(done)
            return done
          }).catch(reject)
        })
      })
    }
  },
  {
    rule: 'the wall clock takes trust away too',
    shownBy: 'a machine that was suspended trusts no earlier poll',
    mutant: { epochClock: real => ({ ...real, now: () => 0 }) }
  },
  {
    rule: 'a revocation does not join a bump in progress',
    shownBy: 'a revocation does not join a bump sent before its COMMIT',
    mutant: {
      epochStore (real, api) {
        return {
          ...real,
          bump () {
            const sent = real.bump()
            underWay.set(api, sent)
            return sent.finally(() => underWay.delete(api))
          }
        }
      },
      settle: (real, api) => ({
        ...real,
        async settle (committed) {
          const sent = underWay.get(api)
          if (sent === undefined) return await real.settle(committed)
          await sent
          await api.clock.sleep(1_600)
        }
      })
    }
  },
  {
    rule: 'a server that was replaced stays away while its successor is confirmed',
    shownBy: 'two masters do not take turns',
    mutant: {
      epochStore: (
        real,
        _api,
        { database }
      ) =>
        ({
          ...real,
          register (
            incarnation,
            generation,
            timeoutMs
          ) { database.seed(({ epoch }) => { epoch.retired = [] }); return real.register(incarnation, generation, timeoutMs) }
        })
    }
  },
  ...Object.entries({
    'a look-up refuses a standby': ['lookUpTellsStandby', 'a standby does not answer a look-up'],
    'a poll refuses a standby': ['pollTellsStandby', 'a poll that a standby answers is none'],
    'a wait for help refuses a standby': ['waitRefusesStandby', 'a standby does not say that a peer has settled'],
    'that there is nothing to end is the primary\'s word': [
      'nothingToEndRefusesStandby',
      'a standby does not say that there is nothing to end'
    ],
    'a revocation waits for its flush': ['commitWaitsForFlush', ['unsynced']],
    'a bump waits for its flush': ['bumpWaitsForFlush', 'a bump survives a crash of the database'],
    'a registration waits for its flush': ['registrationWaitsForFlush', 'a registration survives a crash of the database'],
    'transactions are READ COMMITTED': ['readCommitted', 'a token issued just before is seen by the transaction that ends all'],
    'a settlement dated in the future is overdue': ['futureSettlementIsOverdue', 'a settlement dated ahead of the clock is overdue'],
    'a database has keys of its own': ['databaseBelongsToKey', 'a copy of the database has keys of its own']
  } satisfies Record<string, [keyof DatabaseRules, RemovedRule['shownBy']]>).map(([rule, [name, shownBy]]): RemovedRule =>
    ({ rule, shownBy, mutant: { database: { [name]: false } } })),
  {
    rule: 'a revocation that names none bumps the generation in its own transaction',
    shownBy: 'tokens too many to be named end with the COMMIT, although its revoker died',
    mutant: { epochStore: real => ({ ...real, bumpWithin: async () => {} }) }
  },
  {
    rule: 'a server that was forgotten is waited for',
    shownBy: 'a server that was forgotten is waited for',
    mutant: {
      epochStore: real => ({ ...real, finish: async (ids, incarnation) => ({ ...await real.finish(ids, incarnation), retired: 0 }) })
    }
  },
  {
    rule: 'the key prefix belongs to the incarnation',
    shownBy: 'two key prefixes are two caches',
    mutant: {
      namespace (real) {
        const bare = ({ connection, incarnation }: Identity): Identity => ({
          connection, incarnation: incarnation === null ? null : `${incarnation.split(':', 3).join(':')}:`
        })
        return relink(
          real,
          { overwrite: async (keys, ttlMs) => bare(await real.overwrite(keys, ttlMs)), identify: async () => bare(await real.identify()) }
        )
      }
    }
  },
  {
    rule: 'a bump is never the clock alone',
    shownBy: 'a clock that is set back gives no generation twice',
    mutant: { database: { bumpAlwaysAdds: false } }
  }
]

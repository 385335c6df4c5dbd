import { type Api, createDeployment, type Mutant } from './deployment.js'
import { createWatch, type Watched } from './watch.js'

/** Runs the schedule and returns all violations of the promise and of what the schedule must show; empty if there are none. */
export type NamedSchedule = (mutant?: Mutant, trace?: (lines: string[]) => void) => Promise<string[]>

export const user = '00000000-0000-4000-8000-000000000001'
export const otherUser = '00000000-0000-4000-8000-000000000002'

type Stage = Awaited<ReturnType<typeof setUp>>

async function setUp (mutant: Mutant, traced: boolean, instances: number) {
  const deployment = createDeployment({ mutant, trace: traced })
  const { schedule, redis } = deployment
  const [redis1, redis2] = redis.servers
  if (redis1 === undefined || redis2 === undefined) throw new Error('the deployment has no Redis server')
  deployment.database.seed(({ epoch }) => { Object.assign(epoch, { incarnation: deployment.incarnationOf(redis1), confirmedAt: 0 }) })
  const watch = createWatch(deployment)
  const complaints: string[] = []
  const apis = Array.from({ length: instances }, (_, i) => deployment.start(`api${i + 1}`))
  const [api1, api2] = apis as [Api, Api]

  const stage = {
    ...watch, deployment, schedule, redis, redis1, redis2, database: deployment.database, apis, api1, api2, complaints,
    expect (holds: boolean, text: string): void { if (!holds) complaints.push(text) },
    newToken: (userId = user): Watched => ({ ...deployment.seedToken(userId, crypto.randomUUID()), ended: false }),
    key: (token: Watched) => `token:${token.hash}`,

    /** Runs the schedule until `work` is done. */
    async wait<T> (work: Promise<T>): Promise<T> {
      const state = { done: false }
      const done = () => { state.done = true }
      work.then(done, done)
      if (!await schedule.run(() => state.done, schedule.now() + 30_000)) throw new Error('the awaited work never finished')
      return await work
    },
    /** Runs the schedule until `hold` holds a gate. */
    async reach (hold: { held: unknown[] }): Promise<void> {
      if (!await schedule.run(() => hold.held.length > 0, schedule.now() + 30_000)) throw new Error('the schedule never reached its gate')
    },
    /** Reads the token, so that its entry is cached. */
    async cache (api: Api, token: Watched): Promise<void> {
      await stage.wait(watch.read(api, token))
      await schedule.pass(5)
      if (redis.get(redis1, stage.key(token))?.startsWith('V') !== true) complaints.push('the entry was not cached')
    },
    async readEverywhere (token: Watched): Promise<void> {
      for (const api of deployment.apis) await stage.wait(watch.read(api, token))
    },
    /** `api` reaches Redis but settles for no other instance. */
    withoutHelpOf: (api: Api) => schedule.hold(new RegExp(`^${api.process.name} SELECT settlements runs`))
  }
  // The generation is now older than H, so a revocation doesn't wait for it.
  await schedule.pass(2_100)
  return stage
}

/** A schedule on two instances, or as many as asked for. */
export function schedule (act: (stage: Stage) => Promise<void>, instances = 2): NamedSchedule {
  return async (mutant = {}, trace) => {
    const stage = await setUp(mutant, trace !== undefined, instances)
    try {
      await act(stage)
    } catch (error) {
      stage.complaints.push(String(error))
    }
    trace?.(stage.schedule.lines)
    return [...stage.violations, ...stage.complaints]
  }
}

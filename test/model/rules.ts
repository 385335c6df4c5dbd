import type { ScenarioName } from './scenarios.js'

interface Removal { goesWrong: string, shownIn: ScenarioName }

/** Every rule that the promise needs: what goes wrong without it, and which scenario shows that soonest. */
export const rules = {
  fillOnlyOverOwnLease: { goesWrong: 'a late fill overwrites what the revoker wrote', shownIn: 'race' },
  leaseBeforeDatabaseRead: { goesWrong: 'a row read before the commit is cached after settling', shownIn: 'race' },
  revokedReadIsNotFilledAsLive: { goesWrong: 'a token read as revoked is cached as live', shownIn: 'race' },
  leaseBeforeIssueCommits: { goesWrong: 'an issue caches a token that was revoked meanwhile', shownIn: 'issue' },
  generationCapturedBeforeDatabaseRead: { goesWrong: 'an old row is cached under a new generation', shownIn: 'bump' },
  entriesOfAnotherGenerationRefused: { goesWrong: 'a bump invalidates no entry', shownIn: 'bump' },
  recheckTrustBeforeAccepting: { goesWrong: 'a reply is accepted long after trust was lost', shownIn: 'swap' },
  acceptOnlyGenerationStillHeld: { goesWrong: 'trust regained under a new generation accepts an entry of the old one', shownIn: 'swap' },
  joinOnlyUnsentDatabaseReads: { goesWrong: 'a look-up gets a row from before the revocation', shownIn: 'batch' },
  joinOnlyUnsentRedisReads: { goesWrong: 'a look-up gets an entry from before the revocation', shownIn: 'batch' },
  trustFromPollSent: { goesWrong: 'an old generation is trusted for longer than H', shownIn: 'bump' },
  sentTimeReplacedWithGeneration: { goesWrong: 'an old generation is given a new time', shownIn: 'bump' },
  trustNeedsRegisteredIncarnation: { goesWrong: 'the old master is read and filled after a failover', shownIn: 'revokerMoves' },
  slotsBelongToIncarnation: { goesWrong: 'a slot given away without its keys is read where it was', shownIn: 'slotGivenAway' },
  prefixBelongsToIncarnation: { goesWrong: 'an instance under another prefix accepts what was settled under this one', shownIn: 'prefix' },
  databaseBelongsToKey: { goesWrong: 'a copy of the database fills the cache of the original', shownIn: 'copy' },
  replicaRefusesReads: { goesWrong: 'a demoted master serves what was revoked at its successor', shownIn: 'demoted' },
  getexVouchesForMget: { goesWrong: 'a batch is read from a replica that refuses nothing', shownIn: 'demotedInBatch' },
  infoOnEachConnection: { goesWrong: 'a new connection inherits the trust of the one before', shownIn: 'readerMoves' },
  infoWithEachPoll: { goesWrong: 'a server that changed under its connection stays trusted', shownIn: 'swap' },
  oldSettlementTakesTrust: { goesWrong: 'a revocation whose revoker died never takes effect', shownIn: 'death' },
  futureSettlementIsOverdue: { goesWrong: 'a settlement dated ahead of a clock that was set back is never overdue', shownIn: 'clockBack' },
  bumpAlwaysAdds: { goesWrong: 'a clock that was set back gives the same generation twice', shownIn: 'clockBackBump' },
  settlementInSameTransaction: { goesWrong: 'a revoker that dies leaves no settlement behind', shownIn: 'death' },
  writeBeforeSettlementIsDeleted: { goesWrong: 'a settlement is gone although its entry lives', shownIn: 'altering' },
  settleOnlyRegisteredIncarnation: { goesWrong: 'the entry is settled in a server that others do not use', shownIn: 'readerMoves' },
  incarnationFromSamePipeline: { goesWrong: 'a server that never got the write counts as settled', shownIn: 'help' },
  piecesInOneServer: { goesWrong: 'a large settlement counts as settled where only its last piece was written', shownIn: 'pieces' },
  epochJudgesNotRowCount: { goesWrong: 'a settlement that could not be deleted counts as deleted by a peer', shownIn: 'readerMoves' },
  waitUntilGenerationIsOld: { goesWrong: 'a peer still trusts the server before the failover', shownIn: 'revokerMoves' },
  firstSeenWhenPollReplied: { goesWrong: 'a generation counts as older than it is', shownIn: 'revokerPollsSlowly' },
  waitAfterBump: { goesWrong: 'a peer still trusts the generation before the bump', shownIn: 'bump' },
  waitFromBumpReply: { goesWrong: 'the wait is over too soon after a slow bump', shownIn: 'bump' },
  sharedBumpSentAfterCommit: { goesWrong: 'a row is read between the bump and the commit', shownIn: 'sharedBump' },
  bumpDeletesSettlementAtOnce: { goesWrong: 'a revoker dies after the settlement went and before the bump came', shownIn: 'death' },
  manyBumpInSameTransaction: { goesWrong: 'a revoker of very many tokens dies between its commit and its bump', shownIn: 'many' },
  repeatNamesRevokedTokens: { goesWrong: 'a repeated revocation is answered while the entry lives', shownIn: 'repeat' },
  answerWaitsForSettling: { goesWrong: 'a revocation is answered while the entry lives', shownIn: 'race' },
  bumpOnRegistering: { goesWrong: 'a promoted replica serves what was revoked at the old master', shownIn: 'readerMoves' },
  bumpOnForgetting: { goesWrong: 'a server that comes back after it was forgotten is believed', shownIn: 'forgotten' },
  forgottenServerIsWaitedFor: { goesWrong: 'a peer still trusts the server that was forgotten', shownIn: 'forgotten' },
  goneSettlementWaitsForGeneration: { goesWrong: 'the helper settled a server that others do not use yet', shownIn: 'help' },
  helperDeletes: { goesWrong: 'a live token is refused because its entry was altered', shownIn: 'altering' },
  lookUpRefusesStandby: { goesWrong: 'a row from before the revocation is read on a standby', shownIn: 'standby' },
  waitRefusesStandby: { goesWrong: 'a settlement that a standby has not replayed counts as settled by a peer', shownIn: 'standby' },
  nothingToEndIsThePrimarysWord: { goesWrong: 'a standby without the token says that there is nothing to end', shownIn: 'standbyIssues' },
  pollRefusesStandby: { goesWrong: 'a standby gives an old generation a new time', shownIn: 'standbyPoll' },
  commitWaitsForFlush: { goesWrong: 'a crash of the database undoes a revocation that was answered', shownIn: 'crash' },
  bumpWaitsForFlush: { goesWrong: 'a crash of the database undoes the bump that ended an entry', shownIn: 'crash' },
  registrationWaitsForFlush: { goesWrong: 'a crash of the database registers the replaced server again', shownIn: 'crashAfterFailover' },
  readCommitted: { goesWrong: 'a token issued just before is not seen by the transaction that ends all', shownIn: 'isolation' },
  answerNamesItsQuestion: { goesWrong: 'a pooler gives a look-up the answer to another one', shownIn: 'mixedUp' }
} as const satisfies Record<string, Removal>

/** Rules that the promise does not need, and what they are good for. */
export const comforts = {
  olderEntryReplacedByComparing: 'a lease does not undo another look-up\'s fill',
  newerEntryNotOverwritten: 'an instance with an old poll does not undo its peers\' fills',
  fillOnSameConnection: 'no fill is sent to a server that cannot have its lease',
  acceptOnSameConnection: 'a reply of a connection that is gone is not waited for',
  olderPollDropped: 'trust does not flicker when polls overtake each other',
  registerConditionally: 'one failover costs one bump'
} as const

export type Rule = keyof typeof rules
export type Comfort = keyof typeof comforts
export type Rules = Record<Rule | Comfort, boolean>

export const ruleNames = Object.keys(rules) as Rule[]
export const comfortNames = Object.keys(comforts) as Comfort[]

/** The whole protocol without the given rules. */
export function rulesWithout (...removed: Array<Rule | Comfort>): Rules {
  const names = [...ruleNames, ...comfortNames]
  return Object.fromEntries(names.map(name => [name, !removed.includes(name)])) as Rules
}

import type { ScenarioName } from './scenarios.js'

interface Removal { goesWrong: string, shownIn: ScenarioName }

/** Every rule that a promise rests on: what goes wrong without it, and where that is seen soonest. */
export const rules = {
  fillOnlyOverOwnLease: { goesWrong: 'a late fill overwrites what the revoker wrote', shownIn: 'race' },
  leaseBeforeDatabaseRead: { goesWrong: 'a row read before the commit is cached after the settling', shownIn: 'race' },
  revokedReadIsNotFilledAsLive: { goesWrong: 'a token read as revoked is cached as live', shownIn: 'race' },
  leaseBeforeIssueCommits: { goesWrong: 'an issue caches a token that was revoked meanwhile', shownIn: 'issue' },
  generationCapturedBeforeDatabaseRead: { goesWrong: 'an old row is cached under a new generation', shownIn: 'bump' },
  entriesOfAnotherGenerationRefused: { goesWrong: 'a bump kills no entry', shownIn: 'bump' },
  recheckTrustBeforeAccepting: { goesWrong: 'a reply is accepted long after trust was lost', shownIn: 'swap' },
  acceptOnlyGenerationStillHeld: { goesWrong: 'trust regained under a new generation accepts an entry of the old one', shownIn: 'swap' },
  joinOnlyUnsentDatabaseReads: { goesWrong: 'a look-up gets a row from before the revocation', shownIn: 'batch' },
  joinOnlyUnsentRedisReads: { goesWrong: 'a look-up gets an entry from before the revocation', shownIn: 'batch' },
  trustFromPollSent: { goesWrong: 'an old generation is trusted for longer than H', shownIn: 'bump' },
  sentTimeReplacedWithGeneration: { goesWrong: 'an old generation is given a new time', shownIn: 'bump' },
  trustNeedsRegisteredIncarnation: { goesWrong: 'the old master is read and filled after a failover', shownIn: 'revokerMoves' },
  slotsBelongToIncarnation: { goesWrong: 'a slot given away without its keys is read where it was', shownIn: 'slotGivenAway' },
  replicaRefusesReads: { goesWrong: 'a master demoted under its connections serves what its successor never heard revoked', shownIn: 'demoted' },
  infoOnEachConnection: { goesWrong: 'a new connection inherits the trust of the one before', shownIn: 'readerMoves' },
  infoWithEachPoll: { goesWrong: 'a server that changed under its connection stays trusted', shownIn: 'swap' },
  oldSettlementTakesTrust: { goesWrong: 'a revocation whose revoker died never comes true', shownIn: 'death' },
  settlementInSameTransaction: { goesWrong: 'a revoker that dies leaves no settlement behind', shownIn: 'death' },
  writeBeforeSettlementIsDeleted: { goesWrong: 'a settlement is gone although its entry lives', shownIn: 'altering' },
  settleOnlyRegisteredIncarnation: { goesWrong: 'the entry is settled in a server that others do not use', shownIn: 'readerMoves' },
  incarnationFromSamePipeline: { goesWrong: 'a server passes for settled that never got the write', shownIn: 'help' },
  epochJudgesNotRowCount: { goesWrong: 'a settlement that could not be deleted passes for one a peer has deleted', shownIn: 'readerMoves' },
  waitUntilGenerationIsOld: { goesWrong: 'somebody still trusts the server before the failover', shownIn: 'revokerMoves' },
  firstSeenWhenPollReplied: { goesWrong: 'a generation passes for older than it is', shownIn: 'revokerPollsSlowly' },
  waitAfterBump: { goesWrong: 'somebody still trusts the generation before the bump', shownIn: 'bump' },
  waitFromBumpReply: { goesWrong: 'the wait is over too soon after a slow bump', shownIn: 'bump' },
  sharedBumpSentAfterCommit: { goesWrong: 'a row is read between the bump and the commit', shownIn: 'sharedBump' },
  bumpDeletesSettlementAtOnce: { goesWrong: 'a revoker dies after the settlement went and before the bump came', shownIn: 'death' },
  repeatNamesRevokedTokens: { goesWrong: 'a repeated revocation is answered while the entry lives', shownIn: 'repeat' },
  answerWaitsForSettling: { goesWrong: 'a revocation is answered while the entry lives', shownIn: 'race' },
  bumpOnRegistering: { goesWrong: 'a promoted replica serves what the old master had revoked', shownIn: 'readerMoves' },
  goneSettlementWaitsForGeneration: { goesWrong: 'the helper settled a server that others do not use yet', shownIn: 'help' },
  helperDeletes: { goesWrong: 'a live token is refused because its entry was altered', shownIn: 'altering' }
} as const satisfies Record<string, Removal>

/** Rules that no promise rests on, and what they are good for. */
export const comforts = {
  olderEntryReplacedByComparing: 'a lease does not undo another look-up\'s fill',
  newerEntryNotOverwritten: 'an instance behind its time does not undo its peers\' fills',
  fillOnSameConnection: 'no fill is sent where its lease cannot be',
  acceptOnSameConnection: 'a reply of a connection that is gone is not waited for',
  olderPollDropped: 'trust does not flicker when polls overtake each other',
  registerConditionally: 'one failover costs one bump'
} as const

export type Rule = keyof typeof rules
export type Comfort = keyof typeof comforts
export type Rules = Record<Rule | Comfort, boolean>

export const ruleNames = Object.keys(rules) as Rule[]
export const comfortNames = Object.keys(comforts) as Comfort[]

/** The whole protocol, less the rules given. */
export function rulesWithout (...removed: Array<Rule | Comfort>): Rules {
  const names = [...ruleNames, ...comfortNames]
  return Object.fromEntries(names.map(name => [name, !removed.includes(name)])) as Rules
}

import Type from 'typebox'
import { eventTypes } from '../audit/event.js'
import { choice, closed, Email, factorProof, Id, Moment, Name, nullable, Page, Password, Role, User } from '../http/schemas.js'

const Count = nullable(Type.Integer({ description: 'null: counting would have taken too long' }))
const CurrentPassword = { ...Password, description: "The caller's own, needed when their login is older than 15 minutes" }

export const UserParams = Type.Object({ id: Type.String() })

export const UserQuery = Type.Object({
  ...Page.properties,
  email: Type.Optional(Type.String({ maxLength: 254, pattern: '^[^\\p{Cc}\\p{Cs}]*$', description: 'How the address begins' })),
  cursor: Type.Optional(Type.String({ maxLength: 2_048, description: 'nextCursor of the page before' }))
}, closed)

export const EventQuery = Type.Object({
  ...Page.properties,
  userId: Type.Optional(Id),
  type: Type.Optional({ ...choice(eventTypes), description: 'With it a page may have fewer events than limit although nextCursor is not null' }),
  from: Type.Optional({ ...Moment, description: 'RFC 3339: events from then on' }),
  until: Type.Optional({ ...Moment, description: 'RFC 3339: events before then' })
}, closed)

const AnyUser = Type.Object({ ...User.properties, disabledAt: nullable(Moment) }, { title: 'ManagedUser' })

export const UserList = Type.Object({
  users: Type.Array(AnyUser),
  nextCursor: nullable(Type.String())
})

export const OneUser = Type.Object({ user: AnyUser })

export const NewUserBody = Type.Object({
  email: Email,
  password: Type.Optional({ ...Password, description: "The new user's; without it they have to reset it before they can log in" }),
  name: Type.Optional(Name),
  role: Type.Optional(Role),
  currentPassword: Type.Optional({ ...CurrentPassword, description: `${CurrentPassword.description}; only for role admin` }),
  ...factorProof
}, { ...closed, title: 'NewUser', examples: [{ email: 'grace@example.com', name: 'Grace', role: 'user' }] })

export const Created = Type.Object({ user: User })

export const RoleBody = Type.Object(
  { role: Role, password: Type.Optional(CurrentPassword), ...factorProof },
  { ...closed, title: 'RoleChange', examples: [{ role: 'admin', password: 'correct horse battery staple' }] }
)

/** The body may be left out. */
export const RevokeBody = Type.Unsafe<{ personalTokens?: boolean } | null>({
  type: ['object', 'null'],
  properties: { personalTokens: { type: 'boolean', default: false, description: 'End the personal tokens too' } },
  ...closed,
  examples: [{ personalTokens: true }]
})

const KindCount = Type.Object({ active: Type.Integer(), expired: Type.Integer(), revoked: Type.Integer() })

const UserCount = Type.Object({
  total: Type.Integer(),
  disabled: Type.Integer(),
  unverified: Type.Integer({ description: 'Enabled accounts whose address nobody has proved' }),
  admins: Type.Integer({ description: 'Enabled administrators' })
})

const SessionCount = Type.Object({ active: Type.Integer(), neverUsed: Type.Integer() })

export const Stats = Type.Object({
  database: Type.Object({
    exact: Type.Boolean({ description: 'false: something took too long to count' }),
    total: nullable(Type.Number({ description: "Rows of tokens; the database's own estimate where exact is false" })),
    active: Count,
    expired: Count,
    revoked: Count,
    neverUsed: nullable(Type.Integer({
      description: 'Live personal tokens that were never used, and sessions never used after their login'
    })),
    byKind: nullable(Type.Record(Type.String(), KindCount)),
    sessions: nullable(SessionCount),
    users: nullable(UserCount),
    refreshTokenReuses: nullable(Type.Integer({ description: 'In the last 30 days, according to the audit trail' }))
  }),
  cache: Type.Object({
    state: Type.String({ description: 'trusted, or why not' }),
    trusted: Type.Boolean(),
    generation: Type.Number({ description: 'Cache entries of another generation are void' }),
    registered: Type.Boolean({ description: 'Whether any cache server is in use' }),
    openSettlements: Type.Integer({ description: 'Revocations not yet known to every cache; normally 0' }),
    hitRatio: nullable(Type.Number({ description: 'Of the lookups of this instance since it started' })),
    lookUps: Type.Integer(),
    keys: nullable(Type.Integer({
      description: "In Redis: all keys of the logical database, those of limits and other programs included"
    })),
    memoryBytes: nullable(Type.Integer({ description: 'In Redis: of the whole server' }))
  })
}, { title: 'TokenStats' })

export const OverviewQuery = Type.Object({
  hours: Type.Optional(Type.String({
    pattern: '^([1-9][0-9]?|1[0-5][0-9]|16[0-8])$',
    default: '24',
    description: 'How many hours the series has, the current one included: 1 to 168'
  }))
}, closed)

/** How many hours are asked for: 24 unless the query says otherwise. */
export const hoursOf = ({ hours = '24' }: { hours?: string }): number => Number(hours)

export const OverviewReply = Type.Object({
  at: Moment,
  hours: Type.Array(Type.Object({
    startsAt: { ...Moment, description: 'The hour begins then, in UTC' },
    signIns: Count,
    failures: Count,
    registrations: Count
  }), { description: 'Oldest first; the last is the current hour. Counted in the audit trail' }),
  users: nullable(UserCount),
  sessions: nullable(SessionCount),
  tokens: nullable(Type.Record(Type.String(), KindCount, { description: 'By kind, as their rows say now' })),
  cache: Type.Object({
    state: Type.String({ description: 'trusted, or why not' }),
    trusted: Type.Boolean(),
    hitRatio: nullable(Type.Number({ description: 'Of the lookups of this instance since it started' })),
    lookUps: Type.Integer(),
    answered: Type.Integer({ description: 'Of the lookups, those that the cache answered' }),
    trustLosses: Type.Integer(),
    keys: nullable(Type.Integer()),
    memoryBytes: nullable(Type.Integer())
  }),
  settlements: Type.Object({
    pending: Type.Integer({ description: 'Revocations not yet known to every cache; normally 0' }),
    overdue: Type.Integer({ description: 'Of these, older than three seconds: whoever began them has probably died' }),
    done: Type.Integer({ description: 'Revocations of this instance since it started' }),
    longestSeconds: Type.Number({ description: 'The longest of these, from COMMIT until true in every cache' })
  }),
  instance: Type.Object({ startedAt: Moment }, { description: 'The instance that answered: what it counts itself begins then' })
}, { title: 'Overview' })

import Type from 'typebox'
import { closed, Email, Id, Moment, Name, nullable, Page, Password, Role, User } from '../http/schemas.js'

const Count = nullable(Type.Integer({ description: 'null: counting would have taken too long' }))
const CurrentPassword = { ...Password, description: "The caller's own, needed when their login is older than 15 minutes" }

export const UserParams = Type.Object({ id: Type.String() })

export const UserQuery = Type.Object({
  ...Page.properties,
  email: Type.Optional(Type.String({ maxLength: 254, pattern: '^[^\\p{Cc}\\p{Cs}]*$', description: 'How the address begins' })),
  cursor: Type.Optional(Type.String({ maxLength: 2_048, description: 'nextCursor of the page before' }))
}, closed)

export const EventQuery = Type.Object({ ...Page.properties, userId: Type.Optional(Id) }, closed)

export const UserList = Type.Object({
  users: Type.Array(Type.Object({ ...User.properties, disabledAt: nullable(Moment) })),
  nextCursor: nullable(Type.String())
})

export const NewUserBody = Type.Object({
  email: Email,
  password: Type.Optional({ ...Password, description: "The new user's; without it they have to reset it before they can log in" }),
  name: Type.Optional(Name),
  role: Type.Optional(Role),
  currentPassword: Type.Optional({ ...CurrentPassword, description: `${CurrentPassword.description}; only for role admin` })
}, closed)

export const Created = Type.Object({ user: User })

export const RoleBody = Type.Object({ role: Role, password: Type.Optional(CurrentPassword) }, closed)

/** The body may be left out. */
export const RevokeBody = Type.Unsafe<{ personalTokens?: boolean }
  | null>({
    type: ['object', 'null'],
    properties: { personalTokens: { type: 'boolean', default: false, description: 'End the personal tokens too' } },
    ...closed
  })

const KindCount = Type.Object({ active: Type.Integer(), expired: Type.Integer(), revoked: Type.Integer() })

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
    sessions: nullable(Type.Object({ active: Type.Integer(), neverUsed: Type.Integer() })),
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
})

/** A test that shows something: its file under test/, and its name as it stands there. */
export type Shown = [file: string, name: string]

/** A requirement in our words, under the IDs of its sources: OWASP ASVS 5.0 (V…), NIST SP 800-63B-4 (63B), RFCs. */
export interface Row { ids: string[], requirement: string, tests: Shown[], deviation?: string }

/** Something that was a hole somewhere, and `carried`, the words of it that its tests' names have. */
export interface Input { input: string, carried: string, tests: Shown[] }

const passwords = 'checklist/passwords.test.ts'
const sessions = 'checklist/sessions.test.ts'
const http = 'checklist/http.test.ts'
const limits = 'checklist/limits.test.ts'
const data = 'checklist/data.test.ts'
const accounts = 'checklist/accounts.test.ts'
const mail = 'checklist/mail.test.ts'
const oauth = 'checklist/oauth.test.ts'
const factors = 'checklist/factors.test.ts'

const names = {
  limit: 'V6.3.1, V6.1.1 the sixth attempt in the minute is 429, and during the attack the victim still logs in from another address',
  exact: 'V6.2.8, V6.2.9 exact, without truncation, and long ones are taken',
  ended: 'V7.4.1, V7.4.3 logout, logout-all and a password change end tokens at once on every instance',
  disabled: 'V7.4.2, V7.4.5 disabling a user ends his tokens at once on every instance, by the hand of an admin',
  foreign: "V7.5.2 a user lists and ends his own sessions; another user's session id is not found, and goes on",
  forms: 'V3.5.2 a form post logout and a login CSRF do nothing: bodies of forms are 415, before and after the origin is looked at',
  origins: 'V3.4.2 CORS is an exact list: Origin null, https://good.com.evil and other likenesses may read nothing',
  forwarded: 'V4.1.3 X-Forwarded-For rotation, and that of its kin, is still 429 without TRUST_PROXY',
  refreshes: 'V2.3.3, V15.4.2 refresh x50 in parallel gives one successor, byte for byte',
  kinds: 'RFC 6750 a refresh token used as an access token is refused, and the reverse',
  assignment: 'V15.3.3 no mass assignment: body userId, role, expiresAt and their kin are refused, and change nothing',
  root: 'V15.3.6 a JSON string or array at the root is no body',
  dead: 'V16.5 nothing fails open: the limiter with Redis dead, and authentication too',
  prunes: 'V2.3.3 prune on two instances at once deletes everything once',
  nights: 'V2.3.3 prune at 2 AM on the day the clocks change runs at most once, and goes on the night after',
  paths: 'V8.3.1 //v1/me, /%761/me, ;x and a trailing slash never go past a guard',
  log: 'V16.4.1 no log injection: CRLF and ANSI in email and User-Agent stay in one line',
  bearers: 'RFC 6750 2.1 Bearer empty, doubled, comma-joined, of 64 KB or non-ASCII opens nothing',
  madeUp: 'V15.2.2 a flood of made-up tokens takes no Redis memory and no database pool',
  revoked: 'V15.2.2 a flood of revoked ones takes one key each for a while, and one read of the database at most',
  fuzz: 'every route of /openapi.json under valid and mutated requests'
}

/** Each requirement, and the tests that show it. */
export const rows: Row[] = [
  {
    ids: ['V6.3.1', 'V6.1.1'],
    requirement: 'Guessing is limited, and the limit cannot be used to lock the owner out',
    tests: [[limits, names.limit]]
  },
  {
    ids: ['63B'],
    requirement: 'At most 100 failures in a row on one account, whatever their addresses, and not forgotten with Redis',
    tests: [
      [
        accounts,
        '63B at most 100 consecutive failures an account: 101 from 101 addresses are blocked, a Redis flush changes nothing, and the owner gets in from where he was before'
      ],
      [accounts, '63B fewer failures than 100 block nobody, and a success begins anew'],
      [accounts, '63B an account that does not exist is blocked like one that does']
    ]
  },
  {
    ids: ['V6.2.1'],
    requirement: 'A password has at least 8 code points, or more where so configured',
    tests: [[passwords, 'V6.2.1 the least length is 8 code points, or what is configured, for registering and changing alike']]
  },
  {
    ids: ['V6.2.3'],
    requirement: 'To change a password takes the current one',
    tests: [[passwords, 'V6.2.3 a change needs the current password: with a wrong one 403, and the hash is as it was']]
  },
  {
    ids: ['V6.2.4', 'V6.2.12'],
    requirement: 'Common passwords are refused, and those that are known from breaches',
    tests: [
      [accounts, 'V6.2.4, V6.2.12 common and breached passwords are refused on register and change'],
      [mail, 'V6.2.12, V7.4.3 a reset ends every session, its token works once, and a common password is refused']
    ],
    deviation: 'Breached passwords are those of a list that comes along; asking a service about them is optional, since it is a request to somebody else'
  },
  {
    ids: ['V6.2.5'],
    requirement: 'No rules of composition',
    tests: [[passwords, 'V6.2.5 no rules of composition: spaces, emoji, lower case alone, digits alone']]
  },
  {
    ids: ['V6.2.8', 'V6.2.9'],
    requirement: 'A password is verified exactly as it was typed, nothing is cut off, and long ones are taken',
    tests: [[passwords, names.exact]],
    deviation: 'bcrypt ends at 72 bytes and at NUL, so what it gets is an HMAC-SHA-384 of the password, under a key of the database’s own'
  },
  {
    ids: ['63B'],
    requirement: 'Unicode is normalised (NFC) before hashing',
    tests: [[passwords, '63B Unicode is normalised (NFC) before hashing: both forms of one password log in']]
  },
  {
    ids: ['V6.3.2'],
    requirement: 'No default accounts',
    tests: [[passwords, 'V6.3.2 a fresh migration has no user, no session and no token']]
  },
  {
    ids: ['V6.3.4'],
    requirement: 'No pathway that is not documented',
    tests: [
      [http, 'V6.3.4 no undocumented pathway: the route table is the one of OpenAPI'],
      [http, 'V6.3.4 every route that is not declared open refuses without a token, before it looks at anything else']
    ]
  },
  {
    ids: ['V6.3.8'],
    requirement: 'Nobody learns by text, code or time whether an account exists',
    tests: [
      [passwords, 'V6.3.8 unknown, wrong and disabled are answered with identical bytes'],
      [
        'slow/timing.test.ts',
        'V6.3.8 logins of an unknown email, with a wrong password, and of a disabled user take one and the same time'
      ],
      ['slow/timing.test.ts', 'a build without the dummy hash is detected'],
      [mail, 'V6.3.8 a forgotten password is answered in identical bytes whether the account exists, is disabled or does not exist'],
      ['slow/timing.test.ts', 'V6.3.8 a forgotten password takes one and the same time for known and unknown addresses']
    ],
    deviation: 'Registering an address that is taken is answered 409, unless REGISTRATION says otherwise'
  },
  {
    ids: ['V6.3.3'],
    requirement: 'Accounts have a second factor where they want one, and where SECOND_FACTOR says so none does anything without',
    tests: [[factors, 'V6.3.3 a login asks for the second factor, and SECOND_FACTOR=everyone lets nobody past enrolment']],
    deviation: 'The factors are authenticator apps and recovery codes; a phishing-resistant one is not there yet'
  },
  {
    ids: ['V6.5.1', '63B'],
    requirement: 'One-time codes work once, and challenges once, for a short time and where they were given',
    tests: [
      [factors, 'V6.5.1, 63B a step of TOTP used 50 times in parallel on two instances opens one session'],
      [factors, 'V6.5.1, 63B a challenge works once, for five minutes, and on the device and network that it was given to']
    ]
  },
  {
    ids: ['V6.4.3', 'V6.4.4'],
    requirement: 'Resetting a password does not go round the second factor',
    tests: [[factors, 'V6.4.3, V6.4.4 a reset does not go round the second factor, neither itself nor for the login after it']]
  },
  {
    ids: ['V13.3.1'],
    requirement: 'What the database keeps of second factors opens with keys that it does not have',
    tests: [[
      factors,
      'V13.3.1 a copy of the database opens no TOTP secret: its keys are elsewhere, and each opens the row of its user alone'
    ]]
  },
  {
    ids: ['V7.2.3'],
    requirement: 'Tokens have 128 bits or more from a cryptographic generator; ours have 256, and only their SHA-256 is stored',
    tests: [
      [sessions, 'V7.2.3 tokens have 256 bits from a CSPRNG, and the database holds only their SHA-256'],
      ['slow/unique.test.ts', 'V7.2.3 a million tokens are unique, and no letter of them is favoured']
    ]
  },
  {
    ids: ['V7.2.4'],
    requirement: 'A login issues a new token and ends the prior ones',
    tests: [[sessions, 'V7.2.4 a login issues a new token and ends the prior ones']],
    deviation: 'SESSION_LIMIT above 1 leaves as many sessions as it says'
  },
  {
    ids: ['V7.3.1', 'V7.3.2'],
    requirement: 'Sessions end by idleness and absolutely',
    tests: [[sessions, 'V7.3.1, V7.3.2 sessions end when idle and in the end absolutely, and refreshing does not extend the latter']],
    deviation: 'Idleness ends nothing unless SESSION_IDLE_TTL is set'
  },
  {
    ids: ['V7.4.1', 'V7.4.2', 'V7.4.3', 'V7.4.5'],
    requirement: 'Logging out, disabling, deleting, a password change and admins end tokens at once',
    tests: [
      [sessions, names.ended],
      [accounts, names.disabled],
      [accounts, 'V7.4.2 deleting the account ends its tokens at once on every instance'],
      [accounts, 'V7.4.5 an admin ends the sessions of a user']
    ]
  },
  { ids: ['V7.5.2'], requirement: 'Users see and end their own sessions, and nobody else’s', tests: [[sessions, names.foreign]] },
  {
    ids: ['V3.3.1', 'V3.3.2', 'V3.3.3', 'V3.3.4'],
    requirement: 'Cookies are Secure, HttpOnly, SameSite=Strict and bear the prefix __Host-',
    tests: [[
      sessions,
      'V3.3.1, V3.3.2, V3.3.3, V3.3.4 cookies are Secure, HttpOnly, SameSite=Strict and __Host-, and hold all there is of the tokens'
    ]],
    deviation: 'COOKIE_SECURE=false, for development, drops prefix and Secure'
  },
  {
    ids: ['V3.4.1', 'V3.4.4'],
    requirement: 'HSTS and nosniff on every reply',
    tests: [[http, 'V3.4.1, V3.4.4 HSTS and nosniff are on every status, 404 and 500 included']]
  },
  {
    ids: ['V3.4.2'],
    requirement: 'CORS lets in an exact list of origins',
    tests: [[http, names.origins]],
    deviation: 'The embedded mode also lets pages on loopback read, without credentials'
  },
  {
    ids: ['V3.5.1', 'V3.5.2', 'V3.5.3'],
    requirement: 'No other site makes a request that counts; nothing unsafe by GET; no way around it by a form',
    tests: [
      [sessions, 'V3.5.1, V3.5.2, V3.5.3 no other site can make a request count: not by cookie, not by GET, not by a form'],
      [sessions, names.forms]
    ]
  },
  {
    ids: ['V4.1.3'],
    requirement: 'Clients cannot say what proxies have to say, to Latchkey or to an application behind one that asks it',
    tests: [[limits, names.forwarded], ['slow/proxies.test.ts', "V4.1.3 a client's own X-Auth-User never reaches the application"]]
  },
  {
    ids: ['V4.2.1'],
    requirement: 'Framing can be read in one way alone',
    tests: [[http, 'V4.2.1 framing is unambiguous: CL and TE over a raw socket are 400, and the connection is closed']]
  },
  {
    ids: ['V8.2.1', 'V8.2.2', 'V8.3.2'],
    requirement: 'Functions and data are for those who may; a change of role counts from the next request',
    tests: [
      [accounts, 'V8.2.1, V8.2.2 role by route: each route of OpenAPI refuses whom it has to'],
      [accounts, "V8.3.2 a demoted admin's next request is 403 everywhere, and a promoted user's next is not"],
      [accounts, 'V8.2.3 no user makes himself an admin']
    ]
  },
  {
    ids: ['V2.3.3', 'V15.4.2'],
    requirement: 'Everything happens whole or not at all, and once',
    tests: [
      [data, 'V2.3.3 transactional: with every statement failed in turn no half state is left'],
      [sessions, names.refreshes],
      ['session-data/races.test.ts', 'V15.4.2 of forty patches at once on two instances none is lost']
    ]
  },
  {
    ids: ['RFC 9700 4.14.2'],
    requirement: 'Refresh tokens rotate, and reuse ends the whole family',
    tests: [[sessions, 'RFC 9700 4.14.2 refresh tokens rotate, and reuse past the grace ends the family: the successor is dead']],
    deviation: 'Within REFRESH_GRACE a second use gives the same successor again, for clients whose reply was lost'
  },
  {
    ids: ['RFC 6750 2, 2.3, 3'],
    requirement: 'A token comes in one way, never in the URL; refusals carry a challenge',
    tests: [[http, 'RFC 6750 2, 2.3, 3 one transport, never the URL or a body, and challenges']]
  },
  {
    ids: ['RFC 7009 2.2', 'RFC 7662 2.2'],
    requirement: 'Revoking an unknown token is no error; an inactive token says nothing more',
    tests: [
      [oauth, 'RFC 7009 2.2 an unknown token is answered 200 like a known one, and a known one is dead'],
      [oauth, 'RFC 7662 2.2 an inactive token says nothing more: exact bodies']
    ]
  },
  {
    ids: ['V12.3.1', 'V12.3.2'],
    requirement: 'TLS to PostgreSQL and Redis is verified',
    tests: [
      [
        'slow/postgres.test.ts',
        'V12.3.1, V12.3.2 a certificate that nobody vouches for is refused, whatever the mode, and the reason is told'
      ],
      ['redis/server.test.ts', 'V12.3.1, V12.3.2 with a certificate, which is verified or refused']
    ]
  },
  {
    ids: ['V2.4', 'V15.2.2'],
    requirement: "One account's data starves nobody else",
    tests: [
      ['slow/large-account.test.ts', 'V2.4, V15.2.2 an account of 10,000 live rows with 60 parallel writers leaves the p99 of other users within 2x']
    ]
  },
  {
    ids: ['V13.2.6', 'V15.2.2'],
    requirement: 'Pools and expensive work are bounded',
    tests: [
      [limits, 'V13.2.6 an exhausted pool answers 503 with Retry-After, hangs nobody, and recovers'],
      [limits, 'V15.2.2 expensive work is bounded: 500 parallel logins leave the authenticated calls quick']
    ]
  },
  {
    ids: ['V13.4'],
    requirement: 'No metrics, versions or internals for everybody',
    tests: [[http, 'V13.4 no metrics, versions or internals are exposed']],
    deviation: '/health/ready tells whether database and cache answer, and /docs and /openapi.json are open: they say what this page says'
  },
  {
    ids: ['V14.2.1', 'V14.3.2'],
    requirement: 'No token in a URL, and no reply of authentication in a cache',
    tests: [[http, 'V14.2.1, V14.3.2 no token is read from a URL or asked for there, and every reply of authentication is no-store']]
  },
  {
    ids: ['V15.3'],
    requirement: 'Replies have the fields that they need; bodies assign nothing else, and no type is taken for another',
    tests: [
      [http, 'V15.3.1 a reply has the fields that OpenAPI names and no other: no hash, no flag'],
      [http, names.assignment],
      [http, 'V15.3.5, V15.3.6 no type juggling: arrays, objects, numbers, __proto__ and duplicate keys'],
      ['session-data/merge-patch.test.ts', 'V15.3.6 a member of any name, __proto__ too, is a member and nothing else']
    ],
    deviation: 'Of a key that stands twice the last one counts, as everywhere in JavaScript'
  },
  {
    ids: ['V16.2.5', 'V16.4.1'],
    requirement: 'No secret in the log, and no line that somebody else has written',
    tests: [
      [http, 'V16.2.5 no secret is in the log at level trace, whatever route it was sent to'],
      [http, names.log],
      ['slow/fuzz.test.ts', names.fuzz]
    ]
  },
  {
    ids: ['V16.3.1'],
    requirement: 'What happens to accounts is recorded',
    tests: [
      [data, 'V16.3.1 authentication events are recorded: who, what, when, from where'],
      [accounts, 'V16.3.1 failed logins, changes of the password, reuse, disabling and roles are recorded with their cause']
    ]
  },
  { ids: ['V16.5'], requirement: 'What fails fails shut', tests: [[limits, names.dead]] }
]

/** Each input, and the tests that would notice. */
export const inputs: Input[] = [
  { input: 'X-Forwarded-For rotation', carried: 'X-Forwarded-For rotation', tests: [[limits, names.forwarded]] },
  {
    input: 'IPv6 rotation in a /64, and ::ffff: forms',
    carried: 'IPv6 rotation in a /64',
    tests: [[limits, 'V6.3.1 IPv6 rotation in a /64 counts as one address, and ::ffff: forms as the IPv4 address they are']]
  },
  {
    input: '50 parallel logins against the limit',
    carried: '50 parallel logins against the limit',
    tests: [[limits, 'V6.3.1, V2.3.3 of 50 parallel logins against the limit five get through']]
  },
  { input: 'the limiter with Redis dead', carried: 'the limiter with Redis dead', tests: [[limits, names.dead]] },
  {
    input: 'e-mail case, space and Unicode variants against the account limit',
    carried: 'e-mail case, space and Unicode variants',
    tests: [[limits, 'V6.3.1 e-mail case, space and Unicode variants count against the account limit as one']]
  },
  { input: '//v1/me, /%761/me, ;x, a trailing slash', carried: '//v1/me, /%761/me, ;x and a trailing slash', tests: [[http, names.paths]] },
  {
    input: 'Content-Type with tab, odd case, ;',
    carried: 'Content-Type with tab, odd case or a lone ;',
    tests: [[
      http,
      'V4.1.1 Content-Type with tab, odd case or a lone ; is JSON still and is validated; what merely resembles it is not read'
    ]]
  },
  { input: 'a JSON string or array at the root', carried: 'JSON string or array at the root', tests: [[http, names.root]] },
  {
    input: 'NUL inside a password',
    carried: 'NUL inside a password',
    tests: [[passwords, 'V6.2.8 NUL inside a password counts, and so does all that follows it']]
  },
  { input: 'a 10 MB body', carried: '10 MB body', tests: [[http, 'V15.2.2 a 10 MB body is refused unread']] },
  {
    input: 'lone surrogates',
    carried: 'lone surrogates',
    tests: [[passwords, 'V6.2.8 lone surrogates are refused in a password, since all of them would be one character']]
  },
  {
    input: 'Bearer empty, doubled, comma-joined, 64 KB, non-ASCII',
    carried: 'Bearer empty, doubled, comma-joined, of 64 KB or non-ASCII',
    tests: [[http, names.bearers]]
  },
  {
    input: 'malformed percent-encoding in cookies',
    carried: 'malformed percent-encoding in cookies',
    tests: [[sessions, 'V3.3.1 malformed percent-encoding in cookies is a bad token and no error']]
  },
  {
    input: 'the stored hash presented as a token',
    carried: 'the stored hash presented as a token',
    tests: [[sessions, 'V7.2.3 the stored hash presented as a token opens nothing']]
  },
  {
    input: 'a refresh token used as an access token, and the reverse',
    carried: 'refresh token used as an access token',
    tests: [[sessions, names.kinds]]
  },
  { input: 'userId, role, expiresAt in a body', carried: 'body userId, role, expiresAt', tests: [[http, names.assignment]] },
  { input: "another user's session id", carried: "another user's session id", tests: [[sessions, names.foreign]] },
  {
    input: 'cookie tossing',
    carried: 'cookie tossing',
    tests: [[sessions, 'V3.3.3 cookie tossing: of two cookies with one name neither counts']]
  },
  { input: 'Origin null and https://good.com.evil', carried: 'Origin null, https://good.com.evil', tests: [[http, names.origins]] },
  { input: 'a form post logout', carried: 'a form post logout', tests: [[sessions, names.forms]] },
  { input: 'a login CSRF', carried: 'a login CSRF', tests: [[sessions, names.forms]] },
  { input: 'refresh x50 in parallel', carried: 'refresh x50 in parallel', tests: [[sessions, names.refreshes]] },
  {
    input: 'refresh racing logout-all',
    carried: 'refresh racing logout-all',
    tests: [[sessions, 'V15.4.2 refresh racing logout-all: whoever comes first, nothing lives afterwards']]
  },
  {
    input: 'a login racing a password change with the old password',
    carried: 'login racing a password change with the old password',
    tests: [[sessions, 'V15.4.2 login racing a password change with the old password: no session of the old one is left']]
  },
  {
    input: 'two logins racing',
    carried: 'two logins racing',
    tests: [[sessions, 'V15.4.2 two logins racing, with one session allowed: exactly one survives']]
  },
  { input: 'prune on two instances at once', carried: 'prune on two instances at once', tests: [[data, names.prunes]] },
  {
    input: 'prune at 2 AM on the day the clocks change',
    carried: 'prune at 2 AM on the day the clocks change',
    tests: [[data, names.nights]]
  },
  {
    input: 'a flood of made-up tokens',
    carried: 'a flood of made-up tokens',
    tests: [
      [limits, names.madeUp],
      ['slow/flood.test.ts', 'a flood of made-up tokens causes no more Redis and PostgreSQL work than an idle period of the same length']
    ]
  },
  { input: 'a flood of revoked ones', carried: 'a flood of revoked ones', tests: [[limits, names.revoked]] },
  {
    input: 'poisoned Redis values',
    carried: 'poisoned Redis values',
    tests: [[sessions, 'V7.4.1 poisoned Redis values neither open nor close a door']]
  },
  {
    input: 'the same token on every instance one millisecond after logout',
    carried: 'the same token on every instance one millisecond after logout',
    tests: [[sessions, 'V7.4.1 the same token on every instance one millisecond after logout is refused']]
  }
]

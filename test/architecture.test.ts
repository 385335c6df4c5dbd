import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'
import { environmentSchema } from '../src/config/environment.js'

interface Import { from: string, to: string, typeOnly: boolean, names: string[] }

const root = fileURLToPath(new URL('..', import.meta.url))
const sources = ['src', 'db'].flatMap(folder =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(name => join(folder, name)))
  .filter(path => path.endsWith('.ts')).sort()
  .map(path => ts.createSourceFile(path, read(path), ts.ScriptTarget.ESNext, true))
const imports = sources.flatMap(importsOf)

/** The folders of src that belong to no feature; whatever else is there is a feature. */
const technicalRooms = ['config', 'http', 'database', 'redis', 'embedded', 'observability']
const otherRooms = ['commands', 'embedding', 'verifier', 'shared', 'keys']
const room = (path: string) => /^src\/([^/]+)\//.exec(path)?.[1] ?? null
const isTechnical = (name: string | null) => name !== null && technicalRooms.includes(name)
const isFeature = (name: string | null) => name !== null && !isTechnical(name) && !otherRooms.includes(name)

/** Who may import a package, types included; a package that isn't here may be imported anywhere. */
const packages: Array<[name: RegExp, allowed: RegExp]> = [
  [
    /^(fastify|fastify-plugin|@fastify\/(?!error$).*)$/,
    /^src\/(app|server|embedding\/.*|http\/.*|observability\/(traffic|tracing)|tokens\/authenticate|sessions\/cookies|.*\/routes)\.ts$/
  ],
  [/^@fastify\/error$/, /^src\/(shared\/errors|http\/.*)\.ts$/],
  [/^drizzle-orm/, /^(db\/.*|src\/(database|embedded)\/.*|src\/.*\/([a-z-]+-)?store)\.ts$/],
  [/^(postgres|@electric-sql\/pglite)$/, /^src\/(database|embedded)\/.*$/],
  [/^ioredis$/, /^src\/(redis\/.*|token-cache\/redis)\.ts$/],
  [/^cluster-key-slot$/, /^src\/token-cache\/cluster\.ts$/],
  [/^rate-limiter-flexible$/, /^src\/(redis\/counter|http\/address-limit)\.ts$/],
  [/^ipaddr\.js$/, /^src\/shared\/address\.ts$/],
  [
    /^(prom-client|close-with-grace|node-cron)$/,
    /^src\/(services|server|config\/problems|embedding\/guards|observability\/.*|retention\/schedule)\.ts$/
  ],
  [/^@opentelemetry\//, /^src\/observability\/tracing\.ts$/],
  [/^@upstash\/redis/, /^src\/edge-hints\/upstash\.ts$/],
  [/^nodemailer/, /^src\/mail\/transport\.ts$/],
  [/^otpauth$/, /^src\/factors\/totp\.ts$/],
  [/^bcrypt$/, /^src\/users\/password\.ts$/],
  [/^@zxcvbn-ts\//, /^src\/users\/common-passwords\.ts$/],
  [/^pino(-pretty)?$/, /^src\/observability\/(logger|readable-log)\.ts$/]
]

/** The same for modules of ours. */
const modules: Array<[name: RegExp, allowed: RegExp]> = [
  [/^db\/schema\.ts$/, /^(db\/.*|src\/.*\/([a-z-]+-)?store)\.ts$/],
  [/^db\/migrate\.ts$/, /^src\/(embedded\/(pglite|pglite-image)|database\/migration)\.ts$/],
  [
    /^src\/(app|server|cli|commands\/index|database\/open|foundation)\.ts$/,
    /^src\/(server|cli|foundation|embedding\/(plugin|instances)|verifier\/direct)\.ts$/
  ],
  [/^src\/redis\/open\.ts$/, /^src\/(server|cli|services|foundation|http\/redis-client|verifier\/direct)\.ts$/],
  [/^src\/services\.ts$/, /^src\/(app|cli|embedding\/(plugin|instances))\.ts$/],
  [/^src\/embedding\/.*\.ts$/, /^src\/(app|embedding\/.*)\.ts$/],
  [/^src\/(.*\/)?routes\.ts$/, /^src\/app\.ts$/]
]

t.test('packages are imported only where they belong', async t => {
  for (const [name, allowed] of packages) {
    t.same(imports.filter(({ from, to }) => name.test(to) && !allowed.test(from)).map(describe), [], String(name))
  }
})

t.test('modules are imported only where they belong', async t => {
  for (const [name, allowed] of modules) {
    t.same(imports.filter(({ from, to }) => name.test(to) && !allowed.test(from)).map(describe), [], String(name))
  }
  t.same(imports.filter(({ from, to }) => from.startsWith('db/') && to.startsWith('src/')).map(describe), [], 'db knows nothing of src')
})

t.test('services know neither Fastify, nor drizzle, nor Redis, nor how the database is reached', async t => {
  const forbidden = /^(fastify|@fastify\/|drizzle-orm|ioredis|postgres$|db\/|src\/(redis|embedded)\/|src\/database\/(?!transaction\.))/
  t.same(
    imports.filter(({ from, to }) =>
      /\/(service|opening|refreshing|ending|login|logout|password-change|live-caller|settle|epoch|revocation|cache|batch|prune|outbox|sender|composer|delivery|password-reset|address-proof|registration|second-step|challenges|reauthenticate)\.ts$/.test(from) &&
        forbidden.test(to)).map(describe),
    []
  )
})

t.test('the database is reached by stores alone', async t => {
  const queries = imports.filter(({ from, to, typeOnly }) =>
    /^src\/database\/(database|literals|page)\.ts$/.test(to) && !typeOnly && !/^src\/(database|embedded)\//.test(from))
  t.same(queries.filter(({ from }) => !/\/([a-z-]+-)?store\.ts$/.test(from)).map(describe), [])
  t.ok(queries.length > 0)
})

t.test("a feature uses another feature's service, never its store", async t => {
  const across = imports.filter(({ from, to }) =>
    isFeature(room(from)) && isFeature(room(to)) && /\/([a-z-]+-)?store\.ts$/.test(to) && room(from) !== room(to))
  t.same(across.map(describe), [])
})

t.test('technical rooms know features by their types alone, and features know of them what is named here', async t => {
  t.same(
    imports.filter(({ from, to, typeOnly }) =>
      isTechnical(room(from)) && !/^src\/(redis\/open|http\/health)\.ts$/.test(from) && isFeature(room(to)) && !typeOnly).map(describe),
    []
  )
  const open = /^src\/(database\/(database|transaction|literals|page)|observability\/(logger|durations))\.ts$/
  const edges = /\/(routes|schemas|authenticate|cookies|redis|cluster|schedule|transport|form|errors|metadata|limiter|login-limiter)\.ts$/
  t.same(
    imports.filter(({ from, to, typeOnly }) =>
      isFeature(room(from)) &&
        !edges.test(from) &&
        from !== 'src/users/import-file.ts' &&
        isTechnical(room(to)) &&
        !open.test(to) &&
        !typeOnly).map(describe),
    []
  )
})

t.test('pages know preact, the client and what they share, and nothing of the server', async t => {
  const files = readdirSync(join(root, 'pages'), { recursive: true, encoding: 'utf8' }).filter(name => /\.tsx?$/.test(name))
  t.ok(files.length > 10)
  const beyond = files.flatMap(file => [...read(join('pages', file)).matchAll(/(?:from |import\()'([^']+)'/g)].map(([, to = '']) => {
    const target = to.startsWith('.') ? join(dirname(file), to) : to
    const isAllowed = /^(preact(\/hooks)?$|latchkey-client$|uplot$|uqr$|shared\/|texts\/)/.test(target) || target.split('/')[0] === file.split('/')[0]
    return isAllowed ? '' : `pages/${file} imports ${to}`
  })).filter(found => found !== '')
  t.same(beyond, [])
})

t.test('no modules import each other in a circle, types included', async t => {
  const next = new Map<string, string[]>()
  for (const { from, to } of imports) if (/^(src|db)\//.test(to)) next.set(from, [...next.get(from) ?? [], to])
  const done = new Set<string>()
  function circle (path: string[]): string[] | null {
    const here = path.at(-1) as string
    if (path.indexOf(here) < path.length - 1) return path
    if (done.has(here)) return null
    for (const to of next.get(here) ?? []) {
      const found = circle([...path, to])
      if (found !== null) return found
    }
    done.add(here)
    return null
  }
  t.same([...next.keys()].map(from => circle([from])).filter(found => found !== null), [])
})

t.test('no line is wider than 140 characters, but for texts that cannot be broken', async t => {
  const wide = sources.flatMap(source => read(source.fileName).split('\n').flatMap((line, i) =>
    line.length > 140 && line.replace(/'[^']*'|"[^"]*"|`[^`]*`?/g, '').length > 140 - 40 ? [`${source.fileName}:${i + 1}`] : []))
  t.same(wide, [])
})

t.test('the environment is read in one place, and nothing is printed past the logger', async t => {
  const readers = sources.filter(source => some(source, node => ts.isPropertyAccessExpression(node) && node.getText() === 'process.env'))
  t.same(readers.map(source => source.fileName), ['src/config/config.ts'])
  const printers = sources.filter(source => some(source, node => ts.isIdentifier(node) && node.text === 'console'))
  t.same(printers.map(source => source.fileName), [])
})

t.test('what ends tokens, or changes what an entry says, is written in these functions alone, within a transaction of the one door', async t => {
  const ending = /^(revokedAt|endedAt|passwordHash|disabledAt|role|name|email|emailVerifiedAt|secondFactor|amr)$/
  const writes = sources.filter(source => source.fileName.startsWith('src/')).flatMap(source => all(source, node =>
    ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression) && node.expression.name.text === 'set' &&
    node.arguments.some(argument =>
      !ts.isObjectLiteralExpression(argument)
        ? /\.update\(/.test(node.expression.getText())
        : argument.properties.some(property => ending.test(property.name?.getText() ?? '')))))
  const places = writes.map(write => {
    const writer = enclosing(write)
    return `${write.getSourceFile().fileName} ${writer?.name?.getText()} (${writer?.parameters[0]?.type?.getText()})`
  })
  t.same(places.sort(), [
    // Of a registration, which is no account yet.
    'src/mail/store.ts replaceRegistration (Tx)',
    'src/sessions/store.ts end (RevokingTx)',
    'src/sessions/store.ts endOfUsers (RevokingTx)',
    'src/sessions/store.ts setMethods (RevokingTx)',
    'src/tokens/program-store.ts revokePersonal (RevokingTx)',
    'src/tokens/program-store.ts revokeServices (RevokingTx)',
    'src/tokens/store.ts revokeAllOfSession (RevokingTx)',
    'src/tokens/store.ts revokeOfSessions (RevokingTx)',
    'src/tokens/store.ts revokeOfUsers (RevokingTx)',
    'src/tokens/store.ts revokeOne (RevokingTx)',
    'src/tokens/surplus-store.ts revokeSurplus (RevokingTx)',
    'src/users/store.ts markDeleted (RevokingTx)',
    'src/users/store.ts setDisabled (RevokingTx)',
    'src/users/store.ts setName (RevokingTx)',
    'src/users/store.ts setPassword (RevokingTx)',
    'src/users/store.ts setRole (RevokingTx)',
    'src/users/store.ts setSecondFactor (RevokingTx)',
    'src/users/store.ts setVerifiedEmail (RevokingTx)'
  ])
})

t.test('rows of tokens, sessions and users are deleted by pruning, by refreshing what nobody needs, and with an account that is dead already', async t => {
  const deletions = sources.flatMap(source =>
    all(
      source,
      node =>
        ts.isCallExpression(node) &&
          /\.delete$/.test(node.expression.getText()) &&
          /^(tokens|sessions|users)$/.test(node.arguments[0]?.getText() ?? '')
    ))
  t.same(
    [...new Set(deletions.map(node => `${node.getSourceFile().fileName} ${enclosing(node)?.name?.getText()}`))],
    [
      'src/retention/store.ts delete',
      'src/sessions/store.ts deleteOfUser',
      'src/tokens/store.ts deleteOfUser',
      'src/tokens/surplus-store.ts deleteSurplus',
      'src/users/store.ts deleteMarked'
    ]
  )
})

t.test('no statement as text goes past the stores', async t => {
  const statement = /\b(update\s+"?(tokens|sessions|users)\b|(delete\s+from|truncate)\s+"?(tokens|sessions|users)\b|(revoked_at|ended_at|password_hash|disabled_at)\s*=)/i
  const texts = sources.flatMap(source =>
    all(source, node => (ts.isStringLiteralLike(node) || ts.isTemplateExpression(node)) && statement.test(node.getText())))
  t.same(texts.map(node => `${node.getSourceFile().fileName}: ${node.getText()}`), [])
})

t.test('the one door is in revocation.ts', async t => {
  const doors = sources.flatMap(source =>
    all(source, node => (ts.isAsExpression(node) || ts.isTypeAssertionExpression(node)) && node.type.getText() === 'RevokingTx'))
  t.same([...new Set(doors.map(node => node.getSourceFile().fileName))], ['src/revocation/revocation.ts'])
  const loopholes = sources.flatMap(source => all(source, node => ts.isAsExpression(node) && /^(any|never)$/.test(node.type.getText())))
  t.same(loopholes.map(node => `${node.getSourceFile().fileName}: ${node.getText()}`), [], 'no assertion that would open another')
})

t.test("each of the session service's functions that ends something goes through the door", async t => {
  const service = sources.filter(({ fileName }) => /^src\/sessions\/(?!routes|schemas|store|cookies)/.test(fileName))
  const through = service.flatMap(source =>
    all(
      source,
      node =>
        ts.isCallExpression(node) &&
          /^(revocation(\.(revoke|change)|\[through\])|(liveCaller\.)?withLiveCaller)$/.test(node.expression.getText())
    ))
  const names = new Set(through.map(node => {
    const writer = enclosing(node)
    return writer?.name?.getText() ?? (writer?.parent as ts.VariableDeclaration | undefined)?.name.getText()
  }))
  t.same(
    [...names].sort(),
    ['change', 'endAll', 'endOne', 'endOthers', 'finishLogin', 'logOut', 'logOutByRefresh', 'openUnchanged', 'refresh', 'withLiveCaller']
  )
})

t.test('the environment has the same variables in the schema, in .env.example and in compose.yaml', async t => {
  const real = Object.entries(environmentSchema.properties).map(([name, schema]) =>
    [name, String((schema as { default?: unknown }).default ?? '')])
  const example = read('.env.example').split('\n').filter(line => line !== '' && !line.startsWith('#')).map(line => {
    const [, name, value = ''] = /^([A-Z_]+)=(.*)$/.exec(line) ?? [line, line]
    return [name, value.replace(/^"(.*)"$/, '$1')]
  })
  t.same(example.sort(), real.sort(), 'names and defaults')

  const api = /^ {2}api:\n.*?\n {4}environment:\n(.*?)\n {4}\w/ms.exec(read('compose.yaml'))?.[1] ?? ''
  const passed = api.split('\n').map(line => /^ {6}([A-Z_]+):/.exec(line)?.[1]).filter(name => name !== undefined)
  // The container has a database of its own, so none is embedded; and these come from files.
  const elsewhere = ['DATA_DIR', 'DATABASE_URL', 'REDIS_URL', 'SMTP_URL']
  t.same(passed.sort(), real.map(([name]) => name).filter(name => !elsewhere.includes(name as string)).sort())
  const asked = new Set([...read('compose.yaml').matchAll(/\$\{([A-Z_]+)/g)].map(match => match[1]))
  t.same([...asked].filter(name => !(name as string in environmentSchema.properties)), [], 'and asks for no other')
})

function read (path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

function importsOf (source: ts.SourceFile): Import[] {
  return source.statements.flatMap(statement => {
    if (!(ts.isImportDeclaration(statement) || ts.isExportDeclaration(statement)) || statement.moduleSpecifier === undefined) return []
    const specifier = (statement.moduleSpecifier as ts.StringLiteral).text
    const clause = ts.isImportDeclaration(statement) ? statement.importClause : statement.exportClause
    const named = clause === undefined ? undefined : ts.isImportClause(clause) ? clause.namedBindings : clause
    const elements = named !== undefined && (ts.isNamedImports(named) || ts.isNamedExports(named)) ? [...named.elements] : []
    const whole = ts.isImportDeclaration(statement) ? statement.importClause?.isTypeOnly === true : statement.isTypeOnly
    const hasDefault = ts.isImportDeclaration(statement) && statement.importClause?.name !== undefined
    return [{
      from: source.fileName,
      to: specifier.startsWith('.') ? relative(root, join(root, dirname(source.fileName), specifier)).replace(/\.js$/, '.ts') : specifier,
      typeOnly: whole || (!hasDefault && elements.length > 0 && elements.every(element => element.isTypeOnly)),
      names: elements.map(element => element.name.text)
    }]
  })
}

function describe ({ from, to, names }: Import): string {
  return `${from} imports ${names.join(', ')} of ${to}`
}

function all (node: ts.Node, test: (node: ts.Node) => boolean): ts.Node[] {
  const found: ts.Node[] = test(node) ? [node] : []
  ts.forEachChild(node, child => { found.push(...all(child, test)) })
  return found
}

function some (node: ts.Node, test: (node: ts.Node) => boolean): boolean {
  return all(node, test).length > 0
}

/** The innermost function with a name of its own, or stored under one. */
function enclosing (node: ts.Node): ts.FunctionLikeDeclaration | undefined {
  for (let at = node.parent; at !== undefined; at = at.parent) {
    if (ts.isMethodDeclaration(at) || ts.isFunctionDeclaration(at)) return at
    if (ts.isArrowFunction(at) && ts.isVariableDeclaration(at.parent)) return at
  }
  return undefined
}

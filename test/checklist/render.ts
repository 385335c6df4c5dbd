import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { inputs, rows, type Shown } from './table.js'

export const securityFile = fileURLToPath(new URL('../../SECURITY.md', import.meta.url))

const cell = (text: string) => text.replaceAll('|', '\\|')
const shown = (tests: Shown[]) =>
  tests.length === 0 ? 'nothing yet' : tests.map(([file, name]) => `test/${file}: ${name}`).map(cell).join('<br>')

/** The section of SECURITY.md, from its heading to its last line. */
export function renderChecklist (): string {
  return [
    '## Checklist',
    '',
    'OWASP ASVS 5.0 (V…), NIST SP 800-63B-4 (63B) and RFCs, in short; each row is held by tests whose names begin with its ID. test/checklist/table.test.ts asserts that they are there,',
    'and that this table is test/checklist/table.ts, from which `npx tsx test/checklist/render.ts` writes it.',
    '',
    '| ID | requirement | shown by |',
    '| --- | --- | --- |',
    ...rows.map(({ ids, requirement, tests }) => `| ${ids.join(', ')} | ${cell(requirement)} | ${shown(tests)} |`),
    '',
    'Where the project decides otherwise, and why:',
    '',
    ...rows.filter(({ deviation }) => deviation !== undefined).map(({ ids, deviation }) => `- ${ids.join(', ')}: ${deviation}.`),
    '',
    'Inputs that were a hole somewhere:',
    '',
    '| input | shown by |',
    '| --- | --- |',
    ...inputs.map(({ input, tests }) => `| ${cell(input)} | ${shown(tests)} |`),
    ''
  ].join('\n')
}

/** The text of SECURITY.md with the section put where it was, or before the last one. */
export function withChecklist (text: string): string {
  const bare = text.replace(/^## Checklist\n.*?(?=^## )/ms, '')
  return bare.replace(/^## Reporting$/m, `${renderChecklist()}\n## Reporting`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(securityFile, withChecklist(readFileSync(securityFile, 'utf8')))

/**
 * The language of `known` that suits an Accept-Language header best (RFC 4647 3.4, lookup); null where none does. A tag of a region or a
 * script counts as its language.
 */
export function findLanguage<Language extends string> (known: readonly Language[], header: string | undefined): Language | null {
  const wanted = (header ?? '').slice(0, 1_000).split(',').map(part => {
    const [tag = '', ...parameters] = part.trim().toLowerCase().split(/\s*;\s*/)
    const quality = parameters.find(parameter => parameter.startsWith('q='))
    return { tag, quality: quality === undefined ? 1 : Number(quality.slice(2)) }
  }).filter(({ quality }) => quality > 0).sort((one, other) => other.quality - one.quality)
  for (const { tag } of wanted) {
    for (let rest = tag; rest !== ''; rest = rest.replace(/(^|-)[^-]*$/, '')) {
      const found = known.find(language => language === rest)
      if (found !== undefined) return found
    }
  }
  return null
}

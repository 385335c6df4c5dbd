/**
 * A change that affects more tokens than this names none of them: it makes every cache entry void instead, in its own transaction. Naming
 * them would take longer than filling the caches anew, and hold up the requests of others.
 */
export const maxNamed = 1_000

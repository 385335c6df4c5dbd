import { isObject } from './document.js'

/** `target` after a JSON Merge Patch (RFC 7396 2): null removes a member, objects merge, anything else takes its place. */
export function mergePatch (target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch
  // A map: a member may have any name, __proto__ too.
  const members = new Map(isObject(target) ? Object.entries(target) : [])
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) members.delete(name)
    else members.set(name, mergePatch(members.get(name), value))
  }
  return Object.fromEntries(members)
}

// GIDs as people write them: like IPv6 addresses. IBA vol 1, 4.1.1; RFC 5952.

const GROUPS = 8;

/** `fe80::2:c903:0:1`: the longest run of zero groups is left out. */
export function gidText(gid: Uint8Array): string {
  const groups = Array.from({ length: GROUPS }, (_, i) => ((gid[2 * i] ?? 0) << 8) | (gid[2 * i + 1] ?? 0));
  let best = { at: 0, length: 1 };
  for (let at = 0; at < GROUPS; at++) {
    let length = 0;
    while (at + length < GROUPS && groups[at + length] === 0) length++;
    if (length > best.length) best = { at, length };
  }
  const text = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(":");
  if (best.length < 2) return text(groups);
  return `${text(groups.slice(0, best.at))}::${text(groups.slice(best.at + best.length))}`;
}

// What somebody who mistyped a name may have meant.

const SUGGESTIONS = 3;

/** The names nearest to `name`, best first, at most three; none if all are far off. */
export function nearNames(name: string, names: Iterable<string>): string[] {
  const farthest = Math.max(1, Math.floor(name.length / 3));
  const found: { name: string; distance: number }[] = [];
  for (const each of names) {
    const distance = plain(each) === plain(name) ? 0 : editDistance(name, each, farthest);
    if (distance <= farthest) found.push({ name: each, distance });
  }
  return found
    .sort((a, b) => a.distance - b.distance)
    .slice(0, SUGGESTIONS)
    .map((each) => each.name);
}

/** `; did you mean leaf-3?`, or "" where nothing is near. */
export function suggestion(name: string, names: Iterable<string>): string {
  const near = nearNames(name, names);
  return near.length === 0 ? "" : `; did you mean ${near.join(" or ")}?`;
}

const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, "");

/** Characters to insert, drop or replace to make `b` of `a`; more than `limit` if there are more. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? limit + 1;
}

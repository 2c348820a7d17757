// Open enumerations: numbers from a document with names; an unknown number is a legal value that prints as hex.

/** The name of `value` in a table such as `QpState`, or `0x…` when the document does not list it. */
export function nameOf(table: Readonly<Record<string, number>>, value: number): string {
  for (const [name, number] of Object.entries(table)) if (number === value) return name;
  return hex(value);
}

/** `0x`-prefixed hexadecimal, padded to `digits`. */
export function hex(value: number, digits = 0): string {
  return `0x${(value >>> 0).toString(16).padStart(digits, "0")}`;
}

/** A GUID as `0002:c903:…`, the way the diagnostic tools print it without colons: `0x0002c903…`. */
export function guidText(guid: bigint): string {
  return `0x${guid.toString(16).padStart(16, "0")}`;
}

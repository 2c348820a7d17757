// Where in a netlist something is: errors say it.

import { TopologyError } from "../topology.ts";

export interface Place {
  /** The file. */
  readonly source: string;
  readonly line: number;
  /** The line that includes that file, in another one. */
  readonly parent?: Place;
}

/** @throws TopologyError that names the place and the files that led there */
export function failAt(place: Place, message: string): never {
  let path = "";
  for (let from = place.parent; from !== undefined; from = from.parent) path += `; read from ${from.source}:${from.line}`;
  throw new TopologyError(place.source, place.line, message + path);
}

/** A number as C reads it: hexadecimal after 0x, octal after 0, else decimal; what follows it does not matter. 0n if there is none. */
export function parseNumber(text: string): bigint {
  const [, hex, octal, decimal] = /^\s*\+?(?:0x([0-9a-f]+)|(0[0-7]*)|([1-9]\d*))/i.exec(text) ?? [];
  if (hex !== undefined) return BigInt(`0x${hex}`);
  if (octal !== undefined) return octal === "0" ? 0n : BigInt(`0o${octal}`);
  return BigInt(decimal ?? "0");
}

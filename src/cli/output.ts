// How the command line talks to people: tables, JSON, errors.

import { NotFoundError, RefusedError } from "../base/inspect.ts";
import { LabError } from "../lab/lab-error.ts";

export const ExitCode = { OK: 0, FAILED: 1, USAGE: 2, LAB: 3, TIMEOUT: 124 } as const;

/** A mistake in how the command was called. */
export class UsageError extends Error {}

/** Prints an error in one line, with details below it where there are any; returns the exit status. */
export function printError(error: unknown): number {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`vhca: ${message}\n`);
  if (process.env.VHCA_DEBUG !== undefined && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  if (error instanceof LabError) {
    if (error.details !== "") process.stderr.write(`${indent(error.details)}\n`);
    return error.isUsers ? ExitCode.USAGE : ExitCode.LAB;
  }
  const isUsage = [UsageError, NotFoundError, RefusedError].some((each) => error instanceof each);
  return isUsage ? ExitCode.USAGE : ExitCode.LAB;
}

const indent = (text: string): string => text.replace(/^/gm, "    ");

export function printJson(value: unknown): void {
  process.stdout.write(
    `${JSON.stringify(value, (_key, v: unknown) => (typeof v === "bigint" ? `0x${v.toString(16)}` : v), 2)}\n`,
  );
}

export function printLine(text = ""): void {
  process.stdout.write(`${text}\n`);
}

export const isTerminal = process.stdout.isTTY === true;
const hasColour = isTerminal && process.env.NO_COLOR === undefined;
export const bold = (text: string): string => (hasColour ? `\u001b[1m${text}\u001b[22m` : text);
export const dim = (text: string): string => (hasColour ? `\u001b[2m${text}\u001b[22m` : text);
export const green = (text: string): string => (hasColour ? `\u001b[32m${text}\u001b[39m` : text);
export const red = (text: string): string => (hasColour ? `\u001b[31m${text}\u001b[39m` : text);
export const yellow = (text: string): string => (hasColour ? `\u001b[33m${text}\u001b[39m` : text);

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are control characters
const ESCAPES = /\u001b\[\d+m/g;
const GRID_GAP = 4;
const widthOf = (text: string): number => text.replace(ESCAPES, "").length;

/** A table with a head; columns whose head starts with ">" are aligned to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const isRight = head.map((cell) => cell.startsWith(">"));
  const names = head.map((cell) => cell.replace(/^>/, ""));
  const [first = "", ...rest] = alignColumns([names, ...rows], isRight);
  return [bold(first), ...rest].join("\n");
}

/** Rows as lines whose cells stand below each other; to the right in the columns where `isRight` says so. */
export function alignColumns(rows: readonly (readonly string[])[], isRight: readonly boolean[] = []): string[] {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, i) => Math.max(0, ...rows.map((row) => widthOf(row[i] ?? ""))));
  const padded = (cell: string, i: number): string => {
    const padding = " ".repeat((widths[i] ?? 0) - widthOf(cell));
    return isRight[i] === true ? padding + cell : cell + padding;
  };
  return rows.map((row) => row.map(padded).join("  ").trimEnd());
}

/** Names with their values, in as many columns of equal width as fit into `width`; read from top to bottom. */
export function grid(values: readonly (readonly [name: string, value: string])[], width: number): string[] {
  const nameWidth = Math.max(0, ...values.map(([name]) => widthOf(name)));
  const valueWidth = Math.max(0, ...values.map(([, value]) => widthOf(value)));
  const columns = Math.max(1, Math.floor((width + GRID_GAP) / (nameWidth + 2 + valueWidth + GRID_GAP)));
  const height = Math.ceil(values.length / columns);
  const cell = ([name, value]: readonly [string, string]): string =>
    `${name.padEnd(nameWidth)}  ${value}${" ".repeat(valueWidth - widthOf(value))}`;
  return Array.from({ length: height }, (_, row) =>
    values
      .filter((_value, i) => i % height === row)
      .map(cell)
      .join(" ".repeat(GRID_GAP))
      .trimEnd(),
  );
}

/** Words in lines of at most `width`, separated by commas. */
export function wrapList(words: readonly string[], width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const [i, word] of words.entries()) {
    const piece = i + 1 < words.length ? `${word},` : word;
    if (line !== "" && line.length + 1 + piece.length > width) {
      lines.push(line);
      line = "";
    }
    line += line === "" ? piece : ` ${piece}`;
  }
  return line === "" ? lines : [...lines, line];
}

/** Bytes as people read them. */
export function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

/** `1 page`, `2 pages`, `2 switches`. */
export const plural = (count: number, noun: string, nouns = `${noun}s`): string => `${count} ${count === 1 ? noun : nouns}`;

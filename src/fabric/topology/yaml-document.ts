// YAML with errors that name the line: what was expected there and what was found. For topologies and for schedules of faults.

import { type Document, isMap, LineCounter, type Node, parseDocument } from "yaml";
import { z } from "zod";
import { parseDuration } from "../../base/duration.ts";
import { suggestion } from "../../base/near-names.ts";
import { TopologyError } from "./topology.ts";

/** A whole number; integers are read as BigInt, so that GUIDs keep all of their 64 bits. */
export const integer = z.bigint({ error: "expected a whole number" }).transform(Number);

const PART = "expected a part of 1, such as 0.01 or 1%";
const percent = z
  .string()
  .regex(/^\d+(?:\.\d+)?%$/, PART)
  .transform((text) => Number(text.slice(0, -1)) / 100);
/** A part of 1: 0.01, or 1%. */
export const part = z.union([z.number(), z.bigint().transform(Number), percent], { error: PART });

/** A mapping with these keys and no others; another one is an error that says which there are. */
export const strict = <S extends z.ZodRawShape>(shape: S): z.ZodObject<S, z.core.$strict> =>
  z.strictObject(shape, { error: (issue) => (issue.code === "unrecognized_keys" ? unknownText(issue.keys, shape) : undefined) });

/** `Unrecognized key: "port"; did you mean ports?` */
export function unknownText([key = ""]: readonly string[], shape: object): string {
  const known = Object.keys(shape);
  return `Unrecognized key: ${JSON.stringify(key)}${suggestion(key, known) || `; expected ${known.join(", ")}`}`;
}

const DURATION = "expected a duration such as 250ns, 5us or 1.5ms";
/** Nanoseconds of a text such as 5us. */
export const duration = z.string({ error: DURATION }).transform(durationOf);

function durationOf(text: string, context: z.RefinementCtx): number {
  const ns = parseDuration(text);
  if (ns !== undefined) return ns;
  context.addIssue({ code: "custom", message: DURATION, input: text });
  return z.NEVER;
}

export interface YamlFile<T> {
  readonly data: T;
  /** Line of what is at that path, or of what it should be in. */
  readonly lineOf: (path: readonly PropertyKey[]) => number | undefined;
}

/**
 * Reads YAML of that form.
 * @param source what errors call it, such as the file's name
 * @throws TopologyError with the line, what was expected there and what was found
 */
export function readYaml<S extends z.ZodType>(schema: S, text: string, source: string): YamlFile<z.output<S>> {
  const lines = new LineCounter();
  const document = readDocument(text, source, lines);
  const lineOf = (path: readonly PropertyKey[]): number | undefined => lineAt(document, path, lines);
  const value: unknown = document.toJS();
  const { data, error } = schema.safeParse(value);
  if (error === undefined) return { data, lineOf };
  const [issue] = error.issues;
  if (issue === undefined) throw new Error("invariant: what does not fit has an issue");
  const keys = issue.code === "unrecognized_keys" ? issue.keys : [];
  throw new TopologyError(source, lineOf([...issue.path, ...keys.slice(0, 1)]), messageOf(issue, value));
}

/** What was expected where, and what is there. */
function messageOf(issue: z.core.$ZodIssue, value: unknown): string {
  const where = issue.path.length === 0 ? "" : `${issue.path.map(String).join(".")}: `;
  const what = issue.code === "invalid_key" ? (issue.issues[0]?.message ?? "") : issue.message;
  if (issue.code === "unrecognized_keys" || issue.code === "invalid_key") return `${where}${what}`;
  const got = issue.path.reduce<unknown>((part, key) => (part as Record<PropertyKey, unknown> | undefined)?.[key], value);
  return `${where}${what}, got ${textOf(got)}`;
}

const GOT_CHARACTERS = 60;

function textOf(value: unknown): string {
  const text = JSON.stringify(value, (_key, part: unknown) => (typeof part === "bigint" ? Number(part) : part)) ?? "nothing";
  return text.length > GOT_CHARACTERS ? `${text.slice(0, GOT_CHARACTERS)}…` : text;
}

function readDocument(text: string, source: string, lines: LineCounter): Document.Parsed {
  let document: Document.Parsed;
  try {
    document = parseDocument(text, {
      lineCounter: lines,
      intAsBigInt: true,
      prettyErrors: false,
      stringKeys: true,
      logLevel: "error",
    });
    // Aliases are resolved, and counted, here.
    document.toJS();
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    throw new TopologyError(source, 1, `this cannot be read as YAML: ${what}`);
  }
  const [wrong] = document.errors;
  if (wrong !== undefined) {
    throw new TopologyError(source, lines.linePos(wrong.pos[0]).line, `this is not YAML: ${wrong.message}`);
  }
  return document;
}

/** Line of what is at `path`, or of what it should be in. */
function lineAt(document: Document.Parsed, path: readonly PropertyKey[], lines: LineCounter): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const parent = document.getIn(path.slice(0, length - 1), true);
    const key = path[length - 1];
    const pair = isMap(parent) ? parent.items.find((item) => String(item.key) === String(key)) : undefined;
    const found = (pair?.key ?? document.getIn(path.slice(0, length), true)) as Node | undefined;
    if (found?.range) return lines.linePos(found.range[0]).line;
  }
  return 1;
}

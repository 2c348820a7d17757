// What the conformance tests share: a way to note what was observed for a row of docs/errors.md.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { nameOf } from "../../src/base/names.ts";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { QpContext } from "../../src/spec/hca/contexts.ts";
import { EventType, Syndrome } from "../../src/spec/hca/queues.ts";
import { QpState } from "../../src/spec/ib/numbers.ts";
import type { Guest } from "../in-process/pair.ts";

export const DOCUMENT = fileURLToPath(new URL("../../docs/errors.md", import.meta.url));

export const stateOf = (qp: DriverQueuePair): string => nameOf(QpState, QpContext.state.get(qp.query(), 0));

/** Statuses of the completions that have come, by name; "OK" for good ones. */
export const statuses = (guest: Guest): string[] =>
  guest.cq.poll().map(({ syndrome }) => (syndrome === 0 ? "OK" : nameOf(Syndrome, syndrome)));

/** Asynchronous events that have come since the last call, by name. */
export const events = (guest: Guest): string[] => guest.device.asyncEvents.splice(0).map(({ type }) => nameOf(EventType, type));

/** A row of a table in docs/errors.md. */
export type Row = readonly string[];

const line = (row: Row): string => `| ${row.join(" | ")} |`;

/** The lines between the two marks of a table, without them. */
export function documentedRows(table: string): string[] {
  const [, rest = ""] = readFileSync(DOCUMENT, "utf8").split(`<!-- ${table} -->\n`);
  const [body = ""] = rest.split(`<!-- end of ${table} -->`);
  return body.split("\n").filter((each) => each !== "");
}

/** Writes the observed rows into the document (UPDATE_DOCS=1), under the table's two header lines. */
export function updateDocument(table: string, rows: readonly Row[]): void {
  const text = readFileSync(DOCUMENT, "utf8");
  const [before = "", rest = ""] = text.split(`<!-- ${table} -->\n`);
  const [body = "", after = ""] = rest.split(`<!-- end of ${table} -->`);
  const header = body.split("\n").slice(0, 2);
  const lines = [...header, ...rows.map(line)].join("\n");
  writeFileSync(DOCUMENT, `${before}<!-- ${table} -->\n${lines}\n<!-- end of ${table} -->${after}`);
}

/** The rows as the document should have them. */
export const asLines = (rows: readonly Row[]): string[] => rows.map(line);

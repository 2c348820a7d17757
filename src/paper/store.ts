// The report's file: written after every step, so that a run that was interrupted goes on where it stopped.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Report, reportSchema } from "./report.ts";

const HOUR_MS = 3_600_000;
/** An interrupted run older than this is not gone on with: the machine may be another by now. */
const RESUMABLE_HOURS = 24;

const DAY_CHARACTERS = "2026-01-01".length;

/** `paper-MACHINE-DATE`, with `-quick` or `-tiny`, and the figures if it has not all of them, behind it. */
export function reportName({ machine, startedAt, mode, only }: Pick<Report, "machine" | "startedAt" | "mode" | "only">): string {
  const host = machine.name.replaceAll(/[^A-Za-z0-9.-]+/g, "-");
  const suffix = `${mode === "full" ? "" : `-${mode}`}${only === undefined ? "" : `-only-${only.join("-")}`}`;
  return `paper-${host}-${startedAt.slice(0, DAY_CHARACTERS)}${suffix}`;
}

/** Writes a report in one step: a reader never sees half of it. Returns the file. */
export function saveReport(folder: string, report: Report): string {
  mkdirSync(folder, { recursive: true });
  return writeWhole(join(folder, `${reportName(report)}.json`), `${JSON.stringify(report, null, 2)}\n`);
}

/** @returns `file` */
export function writeWhole(file: string, text: string): string {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
  return file;
}

/** @throws Error if the file is no report, with what is wrong in it */
export function loadReport(file: string): Report {
  const result = reportSchema.safeParse(JSON.parse(readFileSync(file, "utf8")));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new Error(`${file} is no report of vhca bench paper: ${issue?.path.join(".")}: ${issue?.message}`);
}

/** What must be the same for a run to go on. */
export type Identity = Pick<Report, "mode" | "machine" | "only">;

/** The newest run of the same kind on the same machine with the same program that was interrupted less than a day ago. */
export function findInterrupted(folder: string, { mode, machine, only }: Identity, now: number): Report | undefined {
  if (!existsSync(folder)) return undefined;
  const reports = readdirSync(folder)
    .filter((name) => name.startsWith("paper-") && name.endsWith(".json"))
    .map((name) => tryLoad(join(folder, name)))
    .filter((report) => report !== undefined);
  return reports
    .filter(
      (report) => !report.isComplete && report.mode === mode && now - Date.parse(report.startedAt) < RESUMABLE_HOURS * HOUR_MS,
    )
    .filter((report) => isSameMachine(report.machine, machine) && report.only?.join() === only?.join())
    .sort((a, b) => Date.parse(b.startedAt) - Date.parse(a.startedAt))[0];
}

function tryLoad(file: string): Report | undefined {
  try {
    return loadReport(file);
  } catch {
    // Of another version, or another's file: it is left alone.
    return undefined;
  }
}

const isSameMachine = (a: Report["machine"], b: Report["machine"]): boolean =>
  (["name", "cpu", "cores", "accelerator", "vhca", "commit"] as const).every((key) => a[key] === b[key]);

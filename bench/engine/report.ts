// Figures as a table for people and as JSON for programs.

import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { green, red, table } from "../../src/cli/output.ts";
import type { FigureRecord } from "./figure.ts";
import type { Surroundings } from "./machine.ts";
import { type Steadiness, steadinessNote } from "./steadiness.ts";

const RESULTS = fileURLToPath(new URL("../results/engine.json", import.meta.url));

export interface Report {
  readonly measuredAt: string;
  readonly surroundings: Surroundings;
  /** Load of the machine before and after, in processes. */
  readonly load: readonly [number, number];
  /** Of each group, where there is a C compiler. */
  readonly steadiness: readonly Steadiness[];
  readonly figures: readonly FigureRecord[];
}

/** Writes the report beside the benches; returns where. */
export function writeReport(report: Report): string {
  mkdirSync(dirname(RESULTS), { recursive: true });
  writeFileSync(RESULTS, `${JSON.stringify(report, null, 2)}\n`);
  return RESULTS;
}

export function reportTable({ surroundings, load, steadiness, figures }: Report): string {
  const { processor, cores, node, compiler, commit } = surroundings;
  const head = `${processor}, ${cores} cores, Node ${node}, ${compiler ?? "no C compiler: no references"}, commit ${commit}`;
  const rows = figures.map((f) => [
    f.name,
    `${f.value} ${f.unit}`,
    f.reference === null ? "" : `${f.reference} ${f.unit} (${f.referenceName})`,
    f.ratio === null ? "" : `${f.ratio} ×`,
    f.goal ?? "",
    f.met === null ? "" : f.met ? green("met") : red("missed"),
  ]);
  const notes = steadiness.map(steadinessNote).filter((note) => note !== undefined);
  const columns = ["figure", ">value", ">reference", ">ratio", "goal", ""];
  return `${head}\nload ${load[0]} before, ${load[1]} after\n\n${[table(columns, rows), ...notes].join("\n")}`;
}

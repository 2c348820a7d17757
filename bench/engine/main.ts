// npm run bench:engine: measures the engine beside C and beside what a Node program would use instead.

import { Command, CommanderError, InvalidArgumentError } from "commander";
import { ProgressLine } from "../../src/cli/progress.ts";
import { load } from "../../src/paper/machine.ts";
import { CTools } from "./c-tools.ts";
import type { BenchContext, Group } from "./context.ts";
import { type FigureRecord, recordOf } from "./figure.ts";
import { GROUPS } from "./groups.ts";
import { surroundings } from "./machine.ts";
import { type Report, reportTable, writeReport } from "./report.ts";
import { measureSteadily, type Steadiness } from "./steadiness.ts";

const USAGE = 2;
const ROUNDS = 5;
const QUICK_SCALE = 0.02;

interface Options {
  json?: boolean;
  quick?: boolean;
}

const names = GROUPS.map(({ name, summary }) => `  ${name.padEnd(14)}${summary}`).join("\n");

function parseGroup(name: string, previous: Group[] = []): Group[] {
  const group = GROUPS.find((g) => g.name === name);
  if (group === undefined) throw new InvalidArgumentError(`There is no such group; there are:\n${names}`);
  return [...previous, group];
}

async function measureAll(groups: readonly Group[], context: BenchContext): Promise<Pick<Report, "figures" | "steadiness">> {
  const figures: FigureRecord[] = [];
  const all: Steadiness[] = [];
  for (const group of groups) {
    const { figures: some, steadiness } = await measureSteadily(group, context);
    figures.push(...some.map(recordOf));
    if (steadiness !== undefined) all.push(steadiness);
  }
  return { figures, steadiness: all };
}

async function run(groups: readonly Group[], options: Options): Promise<void> {
  const progress = new ProgressLine(!process.stderr.isTTY);
  const tools = CTools.build();
  const scale = options.quick === true ? QUICK_SCALE : 1;
  const before = load();
  try {
    const context = { tools, rounds: ROUNDS, scale, show: (step: string) => progress.show({ step }) };
    const { figures, steadiness } = await measureAll(groups, context);
    const measuredAt = new Date().toISOString();
    const report = { measuredAt, surroundings: surroundings(tools), load: [before, load()] as const, steadiness, figures };
    progress.done();
    const path = writeReport(report);
    process.stdout.write(
      options.json === true ? `${JSON.stringify(figures, null, 2)}\n` : `${reportTable(report)}\n\nalso in ${path}\n`,
    );
  } finally {
    progress.done();
    tools?.remove();
  }
}

const program = new Command("npm run bench:engine --")
  .description(
    "Measures the engine, end to end, beside C references (where there is a compiler) and beside Node's own transports.",
  )
  .argument("[name...]", "groups of figures; all of them if none is named", parseGroup)
  .option("--json", "print the figures as JSON")
  .option("--quick", "few samples: shows that everything runs, the figures mean little")
  .addHelpText("after", `\nGroups:\n${names}`)
  .exitOverride()
  .action((groups: Group[] | never[], options: Options) => run(groups.length > 0 ? groups : GROUPS, options));

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : USAGE;
}

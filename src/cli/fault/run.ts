// vhca fault run SCHEDULE.yaml: faults at their times, carried out by the domain itself.

import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { formatDuration } from "../../base/duration.ts";
import { Random } from "../../base/random.ts";
import type { ControlClient } from "../../control/client.ts";
import type { FaultPlan, FaultsView } from "../../domain/faults/operations.ts";
import { addCommonOptions, type CommonOptions, getFabricDomain, parseWhole } from "../fabric/common.ts";
import { endText, makeGraph } from "../fabric/graph.ts";
import { catchInterrupts } from "../interrupt.ts";
import { dim, ExitCode, plural, printJson, printLine, UsageError } from "../output.ts";
import { faultText, printFaults } from "./list.ts";

const LOOK_MS = 50;

interface RunOptions extends CommonOptions {
  seed?: number;
  dry?: boolean;
}

export function addRun(fault: Command): void {
  addCommonOptions(fault.command("run <schedule>"))
    .summary("faults at their times, from a YAML file")
    .description(
      "Carries out a schedule of faults and prints each as it happens. Ctrl-C ends it and clears all faults. Status 1 if a fault cannot be injected, or others end it.",
    )
    .option("--seed <n>", "repeats what chance has decided; that of the file, or a new one, if left out", parseWhole)
    .option("--dry", "only print what would happen, and when")
    .addHelpText(
      "after",
      `
A schedule:
  seed: 7
  faults:
    - { at: 1s, link: "n1:1", loss: 1%, corruption: 0.1%, delay: 5us, for: 5s }
    - { at: [2s, 4s], pull: random, for: 500ms }       some time between; some cable between switches
    - { at: 3s, flap: "leaf1:3", down: 200ms, up: 1s, times: 3 }
    - { at: 5s, freeze: n2, for: 1s }
    - { at: 6s, sm: down, for: 2s }
    - { at: 1s, every: 3s, repeat: 10, pull: random, for: 1s }
    - { at: 60s, clear: all }`,
    )
    .action(async (file: string, options: RunOptions) => {
      process.exitCode = await run(file, options);
    });
}

async function run(file: string, options: RunOptions): Promise<number> {
  const { client } = await getFabricDomain(options.domain);
  const plan = await readPlan(client, file, options.seed);
  const says = options.json !== true;
  if (says) printLine(`Seed ${plan.seed} (--seed ${plan.seed} repeats it), ${plural(plan.steps.length, "fault")}`);
  if (options.dry === true) {
    if (says) for (let i = 0; i < plan.steps.length; i++) printStep(plan, i);
    else printJson(plan);
    return ExitCode.OK;
  }
  const interrupt = catchInterrupts();
  try {
    const { view, isOurs, printed } = await follow(client, plan, interrupt.signal, says);
    const failures = isOurs ? (view.plan?.failures ?? []) : [];
    if (says) for (const failure of failures) printLine(`failed: ${failure}`);
    printFaults(view, options);
    if (interrupt.status !== undefined) return interrupt.status;
    if (!isOurs) process.stderr.write(`vhca: ${endedText(view, plan, printed)}\n`);
    return isOurs && failures.length === 0 ? ExitCode.OK : ExitCode.FAILED;
  } finally {
    interrupt.dispose();
  }
}

/** Reads the schedule and lets the seed decide what it leaves open. @throws UsageError with the line and what is wrong */
async function readPlan(client: ControlClient, file: string, given: number | undefined): Promise<FaultPlan> {
  // Loaded only where it is needed: the parser of YAML is large.
  const [{ parseSchedule, planOf }, { TopologyError }] = await Promise.all([
    import("../../domain/faults/schedule.ts"),
    import("../../fabric/topology/topology.ts"),
  ]);
  try {
    const schedule = parseSchedule(readText(file), file);
    return planOf(schedule, new Random(given ?? schedule.seed ?? randomInt(2 ** 32)), await switchCables(client));
  } catch (error) {
    throw error instanceof TopologyError ? new UsageError(error.message) : error;
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** An end of each cable between two switches. */
async function switchCables(client: ControlClient): Promise<string[]> {
  const links = await client.fabricLinks();
  const graph = makeGraph(await client.fabricNodes(), links);
  const isSwitch = (guid: string): boolean => graph.get(guid)?.isSwitch === true;
  return links.filter(({ a, b }) => isSwitch(a.guid) && isSwitch(b.guid)).map(({ a }) => endText(a));
}

interface Followed {
  readonly view: FaultsView;
  /** Nobody has cleared all faults meanwhile, or started another plan. */
  readonly isOurs: boolean;
  /** Steps that were seen to happen. */
  readonly printed: number;
}

/** Starts the plan and prints its steps as they happen; ends when all have, when others end it, or with everything cleared. */
async function follow(client: ControlClient, plan: FaultPlan, signal: AbortSignal, says: boolean): Promise<Followed> {
  let view = await client.startFaults(plan);
  let printed = 0;
  for (;;) {
    const isOurs = view.plan?.seed === plan.seed && view.plan.total === plan.steps.length;
    const done = isOurs ? (view.plan?.done ?? 0) : printed;
    for (; printed < done; printed++) if (says) printStep(plan, printed);
    if (signal.aborted) return { view: await client.injectFault({ kind: "clear" }), isOurs, printed };
    if (!isOurs || done >= plan.steps.length) return { view, isOurs, printed };
    await sleep(LOOK_MS, undefined, { signal }).catch(() => {});
    view = await client.faults();
  }
}

function endedText({ plan }: FaultsView, { steps }: FaultPlan, printed: number): string {
  const who = plan === undefined ? "somebody has cleared all faults" : "another schedule has come in its place";
  return `the schedule ended after ${printed} of ${steps.length} faults: ${who}`;
}

function printStep({ steps }: FaultPlan, index: number): void {
  const step = steps[index];
  if (step !== undefined) printLine(`${dim(formatDuration(step.atNs).padStart(7))}  ${faultText(step.fault)}`);
}

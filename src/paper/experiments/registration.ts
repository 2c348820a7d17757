// Experiment 4: registering and deregistering memory against the size of the region.

import { readFileSync } from "node:fs";
import { runGuestProgram } from "../../lab/guest-program.ts";
import { NativePair } from "../native/run.ts";
import type { Experiment, FigureSpec, Measured, Step, StepContext } from "../plan.ts";
import { pointsOf, repeat } from "../series.ts";
import { COMMAND } from "./native.ts";
import { RXE_DEVICE, withRxe } from "./rxe.ts";

const figure = (id: string, title: string): FigureSpec => ({
  ...{ id, experiment: 4, title, kind: "lines", isLowerBetter: true },
  x: { name: "size of the region", unit: "B", scale: "log" },
  y: { name: "time", unit: "µs", scale: "log" },
  notes: [
    "Pages that have been touched before, of 4 KiB. In a VM the time includes the guest kernel, which pins the pages; a native process has no such kernel: its memory is shared with the device from the start.",
  ],
});

const REGISTER = figure("registration", "Memory registration");
const DEREGISTER = figure("deregistration", "Memory deregistration");
const FIGURES = [REGISTER.id, DEREGISTER.id];

/** Times of registering and deregistering a region of `x` bytes, in µs. */
interface Row {
  readonly x: number;
  readonly register: number;
  readonly deregister: number;
}

function measured(rows: readonly Row[], command: string): Measured[] {
  return [
    { figure: REGISTER.id, series: { points: pointsOf(rows.map(({ x, register }) => ({ x, y: register }))), command } },
    { figure: DEREGISTER.id, series: { points: pointsOf(rows.map(({ x, deregister }) => ({ x, y: deregister }))), command } },
  ];
}

const native: Step = {
  figures: FIGURES,
  side: "native",
  place: "host",
  measure: async ({ effort, signal, say }) => {
    await using pair = await NativePair.start();
    const { regions: sizes, registrations: iterations } = effort;
    say("native process: registration");
    const test = { kind: "registration", operation: "send", sizes, iterations } as const;
    const rows = await repeat(effort.runs, () => pair.run(test, signal));
    return measured(
      rows.map(({ x, y, second = Number.NaN }) => ({ x, register: y, deregister: second })),
      COMMAND,
    );
  },
};

async function inGuest({ pair, effort, say }: StepContext, device: string): Promise<Measured[]> {
  const source = readFileSync(new URL("../../../bench/guest/registration.c", import.meta.url), "utf8");
  const args = [device, ...[effort.registrations, ...effort.regions].map(String)];
  const command = `tcc -run registration.c ${args.join(" ")}`;
  const rows = await repeat(effort.runs, async () => {
    say(command);
    const { status, stdout, stderr } = await runGuestProgram(pair.lab.node("n1"), source, args);
    if (status !== 0) throw new Error(`${command}: status ${status}: ${stderr.trim()}`);
    return stdout.trim().split("\n").map(parseRow);
  });
  return measured(rows, command);
}

function parseRow(line: string): Row {
  const [x = Number.NaN, register = Number.NaN, deregister = Number.NaN] = line.split(" ").map(Number);
  return { x, register, deregister };
}

const overHca = (side: "mapped" | "trapped"): Step => ({
  figures: FIGURES,
  side,
  place: side,
  measure: (context) => inGuest(context, "mthca0"),
});

const overRxe: Step = {
  figures: FIGURES,
  side: "rxe",
  place: "mapped",
  measure: (context) => withRxe(context, () => inGuest(context, RXE_DEVICE)),
};

export const registration: Experiment = {
  number: 4,
  name: "registration",
  figures: [REGISTER, DEREGISTER],
  steps: [native, overHca("mapped"), overRxe, overHca("trapped")],
};

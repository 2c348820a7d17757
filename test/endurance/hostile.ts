// A pair of guests alone, beside an honest busy neighbour, and beside one that writes over everything it can reach
// (guest/hostile.c): the pair must not be able to tell the last two apart, except that it need not trust either.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { Random } from "../../src/base/random.ts";
import type { Session } from "../../src/cli/session.ts";
import { run } from "../vm/session.ts";
import { keepPairBusy, type PairWork } from "./busy-pair.ts";
import { say } from "./long-runs.ts";
import { assertData } from "./reload.ts";
import { hcaOf, waitUntilJoined } from "./wait.ts";

const SOURCE = new URL("guest/hostile.c", import.meta.url);
/** The hostile program and an honest one take as long as they are told, by the guest's clock. */
const PATIENCE = 6;

export interface HostilityReport {
  readonly alone: PairWork;
  readonly besideHonest: PairWork;
  readonly besideHostile: PairWork;
  /** What the hostile program says that it did. */
  readonly deeds: string;
}

/** The three situations, each for `seconds`, with n3 as the neighbour; afterwards n3's driver is loaded again and works. */
export async function sufferHostility(session: Session, seconds: number, random: Random): Promise<HostilityReport> {
  const alone = await keepPairBusy(session, endsAfter(seconds));
  const honest = `(ib_write_bw -D ${seconds} & sleep 1; ib_write_bw -D ${seconds} localhost; wait)`;
  const besideHonest = (await besides(session, seconds, honest)).pair;
  await compile(session);
  const seed = random.u32();
  say(`hostile guest: seed ${seed}`);
  const lids: number[] = [];
  for (const node of ["n3", "n1", "n2"]) lids.push((await hcaOf(session, node)).lid);
  const refusedBefore = (await hcaOf(session, "n3")).counters;
  const { pair: besideHostile, output } = await besides(session, seconds, `/tmp/hostile ${seconds} ${seed} ${lids.join(" ")}`);
  assertWasHostile(output, refusedBefore, (await hcaOf(session, "n3")).counters);
  await recover(session);
  return { alone, besideHonest, besideHostile, deeds: output.trim() };
}

function endsAfter(seconds: number): () => boolean {
  const end = Date.now() + seconds * 1000;
  return () => Date.now() >= end;
}

/** The pair's work while n3 runs a command, which must succeed. */
async function besides(session: Session, seconds: number, command: string): Promise<{ pair: PairWork; output: string }> {
  let hasEnded = false;
  const neighbour = session.lab.node("n3").exec(command, { timeoutMs: seconds * PATIENCE * 1000 });
  const ended = (): void => {
    hasEnded = true;
  };
  neighbour.then(ended, ended);
  const pair = await keepPairBusy(session, () => hasEnded);
  const { status, stdout, stderr } = await neighbour;
  assert.equal(status, 0, `${command}\n${stdout}\n${stderr}`);
  return { pair, output: stdout };
}

async function compile(session: Session): Promise<void> {
  const source = readFileSync(SOURCE, "utf8");
  const command = "cat >/tmp/hostile.c && tcc -rdynamic -o /tmp/hostile /tmp/hostile.c";
  const { status, stderr } = await session.lab.node("n3").exec(command, { stdin: source, timeoutMs: 60_000 });
  assert.equal(status, 0, stderr);
}

/** It wrote everywhere, and the device noticed: queues failed, doorbells and commands were refused. */
function assertWasHostile(output: string, before: Record<string, number>, after: Record<string, number>): void {
  const numbers = /words: rings (\d+), UAR (\d+), HCR (\d+); commands (\d+)/.exec(output)?.slice(1).map(Number) ?? [];
  assert.ok(numbers.length === 4 && numbers.every((count) => count > 100), output);
  for (const counter of ["doorbellsIgnored", "commandErrors", "requesterErrors"])
    assert.ok((after[counter] ?? 0) > (before[counter] ?? 0), `${counter} counted`);
}

/** The guest's own administrator makes its HCA usable again. */
async function recover(session: Session): Promise<void> {
  await run(session, "n3", "modprobe -r ib_ipoib rdma_ucm ib_mthca; modprobe ib_mthca && modprobe ib_ipoib && modprobe rdma_ucm");
  await waitUntilJoined(session, "n3");
  await assertData(session, ["n1", "n3"]);
}

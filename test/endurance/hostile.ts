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

/**
 * Hostility to queues, doorbells and the HCR for `seconds`, the other two situations for half as long, with n3 as the neighbour.
 * After the queues n3's own administrator loads its driver again; after the HCR only its power switch helps, as with a real card.
 */
export async function sufferHostility(session: Session, seconds: number, random: Random): Promise<HostilityReport> {
  const alone = await keepPairBusy(session, endsAfter(seconds / 2));
  const honest = `ib_write_bw -D ${seconds / 2}`;
  const besideHonest = (await besides(session, seconds, `(${honest} & sleep 1; ${honest} localhost; wait)`)).pair;
  await compile(session);
  const queues = await attack(session, "queues", (seconds * 3) / 4, random);
  assertCounted(queues, ["doorbellsIgnored", "requesterErrors"]);
  const [bytes = 0, areas = 0, rings = 0, uar = 0] = numbersIn(
    /rings (\d+) in (\d+)\nwords: rings (\d+), UAR (\d+)/,
    queues.output,
  );
  assert.ok(bytes > 0 && areas > 16 && rings > 100 && uar > 100, queues.output);
  await recover(session);
  const commands = await attack(session, "commands", seconds / 4, random);
  assertCounted(commands, ["commandErrors"]);
  await session.lab.node("n3").restart();
  await assertData(session, ["n1", "n3"]);
  const mibPerSecond = [...queues.pair.mibPerSecond, ...commands.pair.mibPerSecond];
  return {
    alone,
    besideHonest,
    besideHostile: { runs: queues.pair.runs + commands.pair.runs, mibPerSecond },
    deeds: `${queues.output.trim()}\n${commands.output.trim()}`,
  };
}

interface Attack {
  readonly pair: PairWork;
  readonly output: string;
  readonly before: Record<string, number>;
  readonly after: Record<string, number>;
}

/** What the pair gets done while n3 attacks, and what the device counted. */
async function attack(session: Session, what: "queues" | "commands", seconds: number, random: Random): Promise<Attack> {
  const seed = random.u32();
  say(`hostile guest: ${what}, seed ${seed}`);
  const lids: number[] = [];
  for (const node of ["n3", "n1", "n2"]) lids.push((await hcaOf(session, node)).lid);
  const before = (await hcaOf(session, "n3")).counters;
  // It ends in a kernel that may not be able to end it, so nobody waits for that.
  const program = `/tmp/hostile ${what} ${seconds} ${seed} ${lids.join(" ")}`;
  const command = `${program} >/tmp/deeds 2>&1 & while kill -0 $! && ! grep -q words: /tmp/deeds; do sleep 0.2; done; cat /tmp/deeds`;
  const { pair, output } = await besides(session, seconds, command);
  assert.match(output, /^words: /m, "it did not come to its end");
  return { pair, output, before, after: (await hcaOf(session, "n3")).counters };
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

/** The device noticed. */
function assertCounted({ before, after }: Attack, counters: readonly string[]): void {
  for (const counter of counters) assert.ok((after[counter] ?? 0) > (before[counter] ?? 0), `${counter} counted`);
}

const numbersIn = (pattern: RegExp, text: string): number[] => pattern.exec(text)?.slice(1).map(Number) ?? [];

/** The guest's own administrator makes its HCA usable again. */
async function recover(session: Session): Promise<void> {
  await run(session, "n3", "modprobe -r ib_ipoib rdma_ucm ib_mthca; modprobe ib_mthca && modprobe ib_ipoib && modprobe rdma_ucm");
  await waitUntilJoined(session, "n3");
  await assertData(session, ["n1", "n3"]);
}

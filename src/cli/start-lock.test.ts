// The lock of a start among processes: one of many has it, whatever a dead one has left, and nobody else while it is held.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

const ROUNDS = 60;
const TAKERS = 6;

const folder = mkdtempSync(join(tmpdir(), "vhca-lock-"));
const env = { ...process.env, XDG_RUNTIME_DIR: folder };
const path = join(folder, "vhca", "up.lock");
after(() => rmSync(folder, { recursive: true, force: true }));

/** A process that takes the lock when told "take", says whether it has it, or what it was told, and gives it back when told otherwise. */
const PROGRAM = `
const { takeStartLock } = await import(${JSON.stringify(new URL("start-lock.ts", import.meta.url).href)});
let giveBack;
process.on("message", (word) => {
  if (word !== "take") {
    giveBack?.();
    giveBack = undefined;
    process.send("done");
    return;
  }
  try {
    giveBack = takeStartLock();
    process.send("");
  } catch (error) {
    process.send(error.message);
  }
});
process.send("ready");
`;

async function startTaker(): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["--input-type=module", "-e", PROGRAM], {
    env,
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  await once(child, "message");
  return child;
}

/** Tells all of them at once; what each says. */
async function tell(takers: readonly ChildProcess[], word: "take" | "give back"): Promise<string[]> {
  const answers = takers.map((taker) => once(taker, "message"));
  for (const taker of takers) taker.send(word);
  return (await Promise.all(answers)).map(([text]) => String(text));
}

test("of many that find what a dead process has left at the same moment, one has the lock", async (t) => {
  const takers = await Promise.all(Array.from({ length: TAKERS }, startTaker));
  t.after(() => {
    for (const taker of takers) taker.kill();
  });
  for (let round = 0; round < ROUNDS; round++) {
    // what a process that was killed leaves; it, or one of its number, runs no more
    if (existsSync(join(folder, "vhca"))) writeFileSync(path, JSON.stringify({ pid: 4194305, startTicks: "1" }));
    const answers = await tell(takers, "take");
    const winners = takers.filter((_taker, i) => answers[i] === "");
    assert.equal(winners.length, 1, `round ${round}: ${answers.join("|")}`);
    for (const answer of answers) assert.match(answer, /^$|^a device domain is starting already/);
    const [again = ""] = await tell([takers[(takers.indexOf(winners[0] as ChildProcess) + 1) % TAKERS] as ChildProcess], "take");
    assert.ok(again.includes(`(process ${winners[0]?.pid})`), again);
    await tell(takers, "give back");
    assert.equal(existsSync(path), false);
  }
});

test("the lock of a process that is killed is free at once", async (t) => {
  const [first, second] = (await Promise.all([startTaker(), startTaker()])) as [ChildProcess, ChildProcess];
  t.after(() => second.kill());
  assert.deepEqual(await tell([first], "take"), [""]);
  first.kill("SIGKILL");
  await once(first, "exit");
  assert.equal(existsSync(path), true, "what it has left");
  assert.deepEqual(await tell([second], "take"), [""]);
});

// vhca fault, as a user types it, on a domain that runs.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { FaultsView } from "../../domain/faults/operations.ts";

const main = fileURLToPath(new URL("../main.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "vhca-fault-"));
const env = { ...process.env, XDG_RUNTIME_DIR: folder };
after(() => rmSync(folder, { recursive: true, force: true }));

/** Output of a command whose status must be that one. */
async function output(
  text: string,
  status = 0,
  onStart: (kill: () => void, seen: () => string) => void = () => {},
): Promise<string> {
  const child = spawn(process.execPath, [main, ...text.split(" ")], { env, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (part) => {
      out += part;
    });
  }
  onStart(
    () => child.kill("SIGINT"),
    () => out,
  );
  const got = await new Promise((resolve) => child.on("close", resolve));
  assert.equal(got, status, `${text}: ${out}`);
  return out;
}

const list = async (): Promise<FaultsView> => JSON.parse(await output("fault list --json")) as FaultsView;

test("vhca fault on a fat tree that runs", async (t) => {
  await output("up --hca n1,n16 --topology fat-tree:4");
  t.after(() => output("down"));

  await t.test("each fault is in force, listed, counted and cleared", async () => {
    assert.match(await output("fault link n2 n3 --loss 1% --delay 5us"), /n2:1 ── edge1-1:2 {2}loss 1%, delay 5us/);
    assert.match(await output("fault freeze n16 --for 100s"), /HCA n16 +frozen +for [\d.]+s more/);
    assert.match(await output("fault sm --for 100s"), /subnet manager +dead +for [\d.]+s more/);
    assert.match(await output("fault flap edge1-1:3 --down 100s --up 1s --times 4"), /edge1-1:3 +flaps, down now +4 to go/);
    const { active, counts } = await list();
    assert.deepEqual(active.map(({ kind }) => kind).sort(), ["flap", "freeze", "sm", "spoil", "spoil"]);
    const { cablesSpoiled, cablesPulled, freezes, managerDeaths } = counts;
    assert.deepEqual([cablesSpoiled, cablesPulled, freezes, managerDeaths], [2, 1, 1, 1]);
    await output("fault link n3 clear");
    await output("fault clear n16 sm edge1-1:3");
    assert.deepEqual(
      (await list()).active.map(({ kind }) => kind),
      ["spoil"],
    );
    assert.match(await output("fault clear"), /Nothing is wrong on purpose\.\nSince the start: cables made bad 2, pulled 1;/);
  });

  await t.test("mistakes, of which none is counted", async () => {
    const { counts } = await list();
    for (const [text, message] of [
      ["fault link n2", /expected --loss, --corruption or --delay, or clear/],
      ["fault link n2 clear --loss 1%", /expected --loss, --corruption or --delay, or clear/],
      ["fault link n99 --loss 1%", /there is no node n99; did you mean n9/],
      ["fault link n2 --loss 110%", /expected a part of 1/],
      ["fault link n2 --delay 11s", /delay: expected 0 ns to 10 s/],
      ["fault flap n2 --down 0s", /expected a time above 0/],
      ["fault freeze n1 --for 0s", /'0s' is invalid. expected a time above 0; without --for a fault stays/],
      ["fault sm --for 0ms", /expected a time above 0; without --for/],
      ["fault link n2 --loss 1% --for 0s", /expected a time above 0; without --for/],
      ["fault sm --for 99999m", /^vhca: forNs: expected 0 to 604800 s \(a week\)\n$/],
      ["fault link n3 n4 n99 --loss 1%", /there is no node n99/],
      ["fault flap n3 n99", /there is no node n99/],
      ["fault clear sm n1 n99", /there is no node n99/],
      ["fault flap n2 --times 0", /expected 1 to 100000 times, got 0/],
      ["fault freeze n2", /there is no HCA n2; did you mean n1/],
      ["fault clear n77", /there is no node n77/],
      ["fault run nowhere.yaml", /nowhere.yaml cannot be read/],
    ] as const) {
      assert.match(await output(text, 2), message);
    }
    assert.deepEqual((await list()).counts, counts);
  });

  await t.test("a schedule: its seed repeats it; Ctrl-C ends it and clears all", async () => {
    const file = join(folder, "schedule.yaml");
    writeFileSync(file, "faults:\n  - { at: 0s, pull: random, every: 200ms, repeat: 3, for: 1ms }\n  - { at: 1s, freze: n1 }\n");
    assert.match(await output(`fault run ${file}`, 2), /schedule.yaml:3: faults.1: Unrecognized key: "freze"/);
    writeFileSync(
      file,
      "faults:\n  - { at: 0s, pull: random, every: 200ms, repeat: 3, for: 1ms }\n  - { at: [10ms, 90ms], freeze: n1, for: 1ms }\n",
    );
    const before = (await list()).counts;
    const ran = await output(`fault run ${file}`);
    const [, seed] = /^Seed (\d+) /.exec(ran) ?? [];
    const again = await output(`fault run ${file} --seed ${seed}`);
    const steps = (text: string): string[] => text.split("\n").slice(1, 5);
    assert.deepEqual(steps(again), steps(ran));
    assert.deepEqual(steps(await output(`fault run ${file} --dry --seed ${seed}`)), steps(ran));
    const { counts } = await list();
    assert.deepEqual([counts.cablesPulled - before.cablesPulled, counts.freezes - before.freezes], [6, 2]);
    writeFileSync(file, "faults:\n  - { at: 0s, pull: n2 }\n  - { at: 60s, clear: all }\n");
    const ended = await output(`fault run ${file}`, 130, async (kill, seen) => {
      while (!seen().includes("pulled")) await new Promise((resolve) => setTimeout(resolve, 20));
      kill();
    });
    assert.match(ended, /Nothing is wrong on purpose/);
  });

  await t.test("a schedule that somebody else ends says so, and does not show what has not happened", async () => {
    const file = join(folder, "long.yaml");
    writeFileSync(file, "faults:\n  - { at: 0s, pull: n2 }\n  - { at: 60s, pull: n3 }\n");
    for (const [other, why] of [
      ["fault clear", /ended after 1 of 2 faults: somebody has cleared all faults/],
      [`fault run ${join(folder, "short.yaml")}`, /ended after 1 of 2 faults: another schedule has come in its place/],
    ] as const) {
      writeFileSync(join(folder, "short.yaml"), "faults:\n  - { at: 0s, clear: all }\n");
      const ended = await output(`fault run ${file}`, 1, async (_kill, seen) => {
        while (!seen().includes("n2: pulled")) await new Promise((resolve) => setTimeout(resolve, 20));
        await output(other);
      });
      assert.match(ended, why);
      assert.doesNotMatch(ended, /n3: pulled/);
    }
  });
});

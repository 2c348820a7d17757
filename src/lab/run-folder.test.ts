import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { cacheFolder, makePrivateFolder, runRoot, SOCKET_PATH_LIMIT } from "./paths.ts";
import { identify, isRunning, listLabs, parseStartTicks, RunFolder, sweepRunFolders } from "./run-folder.ts";

let base: string;
let root: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "vhca-run-"));
  root = join(base, "r");
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const record = { startedAt: "2026-01-01", nodes: [{ name: "n1", controlSocket: "/x" }], ssh: { file: "ssh", args: [] } };

test("run folder: the folder of a living process is kept and listed", () => {
  const folder = RunFolder.create(root);
  folder.writeRecord(record);
  assert.deepEqual(sweepRunFolders(root), []);
  assert.deepEqual(
    listLabs(root).map(({ id, owner }) => [id, owner.pid]),
    [[folder.id, process.pid]],
  );
  assert.ok(folder.file("n999.ctl").length + 17 <= SOCKET_PATH_LIMIT);
  const second = RunFolder.create(root);
  folder.remove();
  assert.ok(existsSync(second.path));
  second.remove();
  assert.deepEqual(listLabs(root), []);
  assert.ok(!existsSync(root), "nothing is left of the last lab");
});

test("run folder: the folder of a dead process goes, and with it what it left running, by id only", async () => {
  const orphan = spawn("sleep", ["60"]);
  const bystander = spawn("sleep", ["60"]);
  const [a, b] = [identify(orphan.pid ?? 0), identify(bystander.pid ?? 0)];
  assert.ok(a !== undefined && b !== undefined);
  mkdirSync(join(root, "dead"), { recursive: true });
  writeFileSync(join(root, "dead", "owner.json"), JSON.stringify({ pid: process.pid, startTicks: "1" }));
  // the second number is in use again by a process that started at another time
  writeFileSync(join(root, "dead", "processes"), `${a.pid} ${a.startTicks}\n${b.pid} 1\n`);
  const ended = once(orphan, "exit");
  assert.deepEqual(sweepRunFolders(root), ["dead"]);
  assert.deepEqual(await ended, [null, "SIGKILL"]);
  assert.ok(isRunning(b));
  bystander.kill();
  assert.ok(!existsSync(join(root, "dead")));
});

test("run folder: one that is being made is left alone for a minute", () => {
  mkdirSync(join(root, "young"), { recursive: true });
  mkdirSync(join(root, "old"), { recursive: true });
  utimesSync(join(root, "old"), 1, 1);
  writeFileSync(join(root, "domain.log"), "of a domain that is up");
  utimesSync(join(root, "domain.log"), 1, 1);
  assert.deepEqual(sweepRunFolders(root), ["old"]);
  assert.ok(existsSync(join(root, "domain.log")));
  rmSync(join(root, "domain.log"));
});

test("run folder: a start time is read whatever the process is called", () => {
  const fields = Array.from({ length: 20 }, (_, index) => String(index + 4)).join(" ");
  assert.equal(parseStartTicks(`12 (a) b) R) S ${fields}`), "22");
  assert.equal(identify(2 ** 22 + 1), undefined);
});

test("paths: where things are follows the environment, and socket paths stay short", () => {
  assert.equal(cacheFolder({ VHCA_CACHE: "/c" }), "/c");
  assert.equal(cacheFolder({ XDG_CACHE_HOME: "/x" }), "/x/vhca");
  assert.equal(cacheFolder({ HOME: "/home/u" }), "/home/u/.cache/vhca");
  assert.equal(runRoot({ XDG_RUNTIME_DIR: base }), join(base, "vhca"));
  assert.match(runRoot({ XDG_RUNTIME_DIR: `/tmp/${"long".repeat(30)}` }, 7), /vhca-7$/);
  assert.match(runRoot({ XDG_RUNTIME_DIR: "/nowhere" }, 7), /vhca-7$/);
  mkdirSync(join(base, "open"), { mode: 0o755 });
  assert.throws(() => makePrivateFolder(join(base, "open")), /not a folder of ours/);
});

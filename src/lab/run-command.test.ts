import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { findProgram, onLines, runCommand, STATUS_NOT_RUN } from "./run-command.ts";
import { identify } from "./run-folder.ts";

test("command: output, lines, status, standard input and descriptor 3", async () => {
  const lines: string[] = [];
  const status: string[] = [];
  const result = await runCommand("sh", ["-c", "cat; echo err >&2; echo half >&3; printf last; exit 3"], {
    input: "in\n",
    onLine: (line) => lines.push(line),
    onStatusLine: (line) => status.push(line),
  });
  assert.deepEqual(result, { status: 3, stdout: "in\nlast\n", stderr: "err\n" });
  assert.deepEqual(lines.sort(), ["err", "in", "last"]);
  assert.deepEqual(status, ["half"]);
});

test("command: one that does not exist is a result, one that is aborted throws the reason", async () => {
  assert.notEqual((await runCommand("/no/such/program", [])).status, 0);
  const abort = new AbortController();
  const running = runCommand("sh", ["-c", "sleep 60 & wait"], { signal: abort.signal });
  setTimeout(() => abort.abort(new Error("enough")), 30);
  await assert.rejects(running, /enough/);
  assert.equal((await runCommand("sleep", ["60"], { timeoutMs: 30 })).status, STATUS_NOT_RUN);
});

test("command: a program dies with the process that started it", {
  skip: findProgram("setpriv") ? false : "setpriv is not here",
}, async () => {
  const script = `const { spawnTied } = await import(${JSON.stringify(new URL("run-command.ts", import.meta.url).href)});
    const child = spawnTied("sleep", ["60"], { stdio: "ignore" }); setTimeout(() => console.log(child.pid), 200);`;
  const parent = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  const pid = await new Promise<number>((resolve) => onLines(parent.stdout, (line) => resolve(Number(line))));
  assert.ok(identify(pid) !== undefined);
  parent.kill("SIGKILL");
  await once(parent, "exit");
  for (let tries = 0; identify(pid) !== undefined && tries < 100; tries++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(identify(pid), undefined);
});

// vhca capture beside a program that sends: it ends after so many packets, with its reader, and counts what found no room.

import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { BlockSplitter, decodeBlock } from "../base/pcapng-reader.ts";
import type { Status } from "../control/api.ts";
import { openDevice } from "../verbs/index.ts";

const main = fileURLToPath(new URL("main.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "vhca-capture-"));
const env = { ...process.env, XDG_RUNTIME_DIR: folder };
after(() => rmSync(folder, { recursive: true, force: true }));

const vhca = (...args: string[]): string => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { env, encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout;
};

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Starts a shell command and returns what comes of it; `isOver` says whether it has ended. */
function start(command: string): { child: ChildProcess; ended: Promise<Ended>; isOver: () => boolean } {
  const child = spawn("bash", ["-c", command], { env, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (part) => {
    stdout += part;
  });
  child.stderr.on("data", (part) => {
    stderr += part;
  });
  const ended = new Promise<Ended>((resolve) => child.on("close", (status) => resolve({ status, stdout, stderr })));
  return { child, ended, isOver: () => child.exitCode !== null };
}

/** Brings the port of an HCA up again and again, which takes some management packets each time, until the command has ended. */
async function sendUntil(isOver: () => boolean): Promise<void> {
  const [{ hcas }] = JSON.parse(vhca("status", "--json")) as [Status];
  while (!isOver()) {
    const context = await openDevice(hcas[0]!.socketPath, { memoryBytes: 8 << 20 });
    await context.portActive();
    context.close();
    await setTimeout(20);
  }
}

test("vhca capture and packets that come", async (t) => {
  vhca("up", "--hca", "a,b");
  t.after(() => vhca("down"));
  const capture = `"${process.execPath}" "${main}" capture`;

  await t.test("--count ends it after so many packets, which are all that is in the file", async () => {
    const file = join(folder, "five.pcapng");
    const { ended, isOver } = start(`${capture} ${file} --count 5 --json`);
    await sendUntil(isOver);
    const { status, stdout, stderr } = await ended;
    assert.equal(status, 0, stderr);
    const { packets, dropped } = JSON.parse(stdout) as { packets: number; dropped: number };
    assert.deepEqual([packets, dropped], [5, 0]);
    const splitter = new BlockSplitter();
    const blocks = splitter.push(readFileSync(file)).map(decodeBlock);
    assert.equal(splitter.isInBlock, false);
    assert.equal(blocks.filter(({ kind }) => kind === "packet").length, 5);
    assert.equal(blocks.at(-1)?.kind, "statistics");
  });

  await t.test("it ends by itself and quietly when its reader has left", async () => {
    const { ended, isOver } = start(`${capture} - | head -c 4 | od -An -tx1; echo "status \${PIPESTATUS[0]}"`);
    await sendUntil(isOver);
    const { stdout, stderr } = await ended;
    assert.equal(stdout, " 0a 0d 0d 0a\nstatus 0\n", stderr);
    assert.doesNotMatch(stderr, /EPIPE|at /);
    // The next one can begin.
    vhca("capture", join(folder, "next.pcapng"), "--seconds", "0.1");
  });

  await t.test("it also ends when its reader has left and nothing comes", async () => {
    const { stdout } = await start(`${capture} - --port a,b a | head -c 4 | od -An -tx1; echo "status \${PIPESTATUS[0]}"`).ended;
    assert.equal(stdout, " 0a 0d 0d 0a\nstatus 0\n");
  });

  await t.test("names twice, and with commas; a folder is no file", async () => {
    const file = join(folder, "names.pcapng");
    const written = vhca("capture", file, "--port", "b,a", "a", "--seconds", "0.1", "--json");
    assert.deepEqual((JSON.parse(written) as { ports: string[] }).ports, ["b", "a"]);
    const { status, stderr } = await start(`${capture} ${folder}`).ended;
    assert.deepEqual([status, stderr.split(": ").slice(0, 2)], [2, ["vhca", `${folder} cannot be written`]]);
  });

  await t.test("one that is refused leaves no file behind", async () => {
    const other = join(folder, "other.pcapng");
    const { child, ended } = start(`exec ${capture} ${join(folder, "first.pcapng")}`);
    while (!existsSync(join(folder, "first.pcapng")) || statSync(join(folder, "first.pcapng")).size === 0) await setTimeout(20);
    const refused = await start(`${capture} ${other}`).ended;
    assert.deepEqual([refused.status, existsSync(other)], [2, false]);
    assert.match(refused.stderr, /a capture of this domain runs already/);
    child.kill("SIGINT");
    assert.equal((await ended).status, 0);
  });
});

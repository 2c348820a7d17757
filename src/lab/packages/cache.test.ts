import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { silentProgress } from "../progress.ts";
import { findProgram } from "../run-command.ts";
import { Cache } from "./cache.ts";

let folder: string;
let cache: Cache;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vhca-cache-"));
  cache = new Cache(folder);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("cache: a folder appears complete, is built once, and a failed build leaves nothing", async () => {
  let builds = 0;
  const fill = async (temporary: string): Promise<void> => {
    builds++;
    writeFileSync(join(temporary, "file"), "x");
    assert.ok(!existsSync(cache.path("trees/a")), "not visible before it is complete");
  };
  assert.equal(await cache.build("trees/a", fill), cache.path("trees/a"));
  await cache.build("trees/a", fill);
  assert.equal(builds, 1);
  assert.equal(readFileSync(cache.path("trees/a/file"), "utf8"), "x");
  const failing = cache.build("trees/b", async (temporary) => {
    writeFileSync(join(temporary, "half"), "x");
    throw new Error("no space");
  });
  await assert.rejects(failing, /no space/);
  assert.ok(!existsSync(cache.path("trees/b")));
  assert.deepEqual(readdirSync(cache.path("tmp")), []);
});

test("cache: what a killed build left behind is swept", async () => {
  await cache.build("trees/a", async () => {});
  writeFileSync(cache.path("tmp", "x-1"), "");
  await cache.sweep();
  assert.deepEqual(readdirSync(cache.path("tmp")), []);
});

test("cache: state survives, and a damaged file counts as empty", () => {
  cache.updateState((state) => {
    state.kernels["6.12"] = "k";
  });
  assert.equal(new Cache(folder).readState().kernels["6.12"], "k");
  writeFileSync(cache.path("state.json"), "{");
  assert.deepEqual(cache.readState().kernels, {});
});

test("cache: pruning keeps what the state names", async () => {
  await cache.build("kernels/old", async () => {});
  await cache.build("kernels/new", async () => {});
  cache.updateState((state) => {
    state.kernels["6.12"] = "new";
  });
  await cache.prune();
  assert.deepEqual(readdirSync(cache.path("kernels")), ["new"]);
});

const hasFlock = findProgram("flock") !== undefined;

test("cache: two builders take turns", { skip: hasFlock ? false : "flock is not here" }, async () => {
  const log: string[] = [];
  const work = (name: string) => async (): Promise<void> => {
    log.push(`${name} in`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    log.push(`${name} out`);
  };
  await Promise.all([cache.withLock(silentProgress, undefined, work("a")), cache.withLock(silentProgress, undefined, work("b"))]);
  assert.match(log.join(), /^(a in,a out,b in,b out|b in,b out,a in,a out)$/);
});

test("cache: the lock of a killed builder is free at once, and waiting for one can be aborted", {
  skip: hasFlock ? false : "flock is not here",
}, async () => {
  const script = `const { Cache } = await import(${JSON.stringify(new URL("cache.ts", import.meta.url).href)});
    await new Cache(${JSON.stringify(folder)}).withLock(() => {}, undefined, () => { console.log("held"); setInterval(() => {}, 1000); return new Promise(() => {}); });`;
  const builder = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    await new Promise((resolve) => builder.stdout.once("data", resolve));
    const abort = new AbortController();
    const waiting = cache.withLock(silentProgress, abort.signal, async () => "got it");
    setTimeout(() => abort.abort(new Error("enough")), 50);
    await assert.rejects(waiting, /enough/);
  } finally {
    builder.kill("SIGKILL");
  }
  assert.equal(await cache.withLock(silentProgress, undefined, async () => "mine"), "mine");
});

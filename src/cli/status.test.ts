// vhca status says for which HCAs requests are carried out by the compiled program: those whose VM's memory is in the window, 4 GiB in all.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Status } from "../control/api.ts";
import { openDevice } from "../verbs/index.ts";

const main = fileURLToPath(new URL("main.ts", import.meta.url));
const GIB = 2 ** 30;

test("vhca status: whose requests are compiled, and whose memory has found no room for it", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-status-"));
  const env = { ...process.env, XDG_RUNTIME_DIR: folder };
  const vhca = (...args: string[]): string => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { env, encoding: "utf8" });
    assert.equal(status, 0, stderr);
    return stdout;
  };
  const hcas = (): Status["hcas"] => (JSON.parse(vhca("status", "--json")) as [Status])[0].hcas;
  /** What the table says, in the order of the HCAs. */
  const words = (): (string | undefined)[] => {
    const [head, ...rows] = vhca("status").trimEnd().split("\n").slice(1);
    const at = head!.indexOf("requests");
    return rows.map((row) => row.slice(at).split("  ")[0]);
  };
  vhca("up", "--hca", "a,b,c,d,e");
  t.after(() => {
    vhca("down");
    rmSync(folder, { recursive: true, force: true });
  });
  assert.deepEqual(words(), ["-", "-", "-", "-", "-"]);
  // Nobody touches this memory, so it takes only addresses.
  const open = (hca: Status["hcas"][number], memoryBytes: number) => openDevice(hca.socketPath, { memoryBytes });
  const [a, b, c, d, e] = hcas();
  const contexts = [open(a!, GIB), open(b!, GIB), open(c!, GIB), open(d!, GIB), open(e!, GIB / 16)];
  for (const context of await Promise.all(contexts)) t.after(() => context.close());
  assert.deepEqual(
    hcas().map(({ memoryBytes, compiledBytes }) => [memoryBytes / GIB, compiledBytes / GIB]),
    [
      [1, 1],
      [1, 1],
      [1, 1],
      [1, 0],
      [1 / 16, 1 / 16],
    ],
  );
  assert.deepEqual(words(), ["compiled", "compiled", "compiled", "not compiled", "compiled"]);
});

// Which of several domains a command means: those of `vhca run` have HCAs of the same names.

import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("main.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "vhca-domains-"));
const env = { ...process.env, XDG_RUNTIME_DIR: folder };
after(() => rmSync(folder, { recursive: true, force: true }));

const vhca = (text: string): Promise<{ status: number; stdout: string; stderr: string }> =>
  new Promise((resolve) => {
    execFile(process.execPath, [main, ...text.split(" ")], { env }, (error, stdout, stderr) =>
      resolve({ status: Number(error?.code ?? 0), stdout, stderr }),
    );
  });

/** A domain such as that of a `vhca run`, without VMs; it ends with its process. */
async function startDomain(name: string, hcas: readonly string[]): Promise<ChildProcess> {
  const path = join(folder, "vhca", name);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const at = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);
  const program = `
    const { DomainHandle } = await import(${at("../domain/domain-handle.ts")});
    const { startControlServer } = await import(${at("../control/server.ts")});
    const log = { debug() {}, info() {}, warn() {} };
    const domain = new DomainHandle({ sm: "builtin", engines: 1, log });
    const path = ${JSON.stringify(path)};
    for (const name of ${JSON.stringify(hcas)}) await domain.addHca({ name, socketPath: path + "/" + name + ".sock", doorbells: "mapped" });
    await startControlServer({ domain, socketPath: path + "/control.sock", hcaFolder: path, kind: "run", version: "0", onStop() {} });
    process.stdout.write("up");`;
  // not by --eval, whose flags its engine threads would inherit
  const file = join(path, "domain.mjs");
  writeFileSync(file, program);
  const child = spawn(process.execPath, [file], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit").then(() => assert.fail(`${name} has ended`));
  await Promise.race([once(child.stdout, "data"), ended]);
  ended.catch(() => {});
  return child;
}

test("of several domains the one with all the HCAs, the one that is up, or the one of --domain", async (t) => {
  const [one, two] = (await Promise.all([startDomain("one", ["n1", "n2"]), startDomain("two", ["n1", "n3"])])) as [
    ChildProcess,
    ChildProcess,
  ];
  t.after(async () => {
    await vhca("down");
    for (const child of [one, two]) child.kill();
  });
  const refused = async (text: string, message: RegExp): Promise<void> => {
    const { status, stderr } = await vhca(text);
    assert.equal(status, 2, text);
    assert.match(stderr, message);
  };
  const pids = `${Math.min(Number(one.pid), Number(two.pid))}, ${Math.max(Number(one.pid), Number(two.pid))}`;

  await refused("hca show n1", new RegExp(`^vhca: several domains have n1; say by --domain which one is meant: ${pids}\n$`));
  await refused("hca rm n1", /several domains have n1; say by --domain/);
  await refused(
    "down",
    new RegExp(`^vhca: no device domain is up, only of vhca run, which ends its own \\(process ${pids}\\); start`),
  );
  await refused("fabric path n1 n2", /several domains run; say by --domain/);
  await refused(`capture ${join(folder, "x")}`, /several domains run; say by --domain/);
  await refused(`capture ${join(folder, "x")} --port n2 n3`, /n2, n3 are in different domains; name those of one domain/);
  await refused("hca show n4", /no HCA named n4; there are: n1, n2, n3/);
  await refused(`hca show n3 --domain ${one.pid}`, /no HCA named n3; there are: n1, n2/);
  await refused("hca show n1 --domain 1", new RegExp(`no device domain has process 1; there are ${pids}`));
  await refused(`hca add n5 --beside n1 --domain ${one.pid}`, /cannot be used with/);

  const view = JSON.parse((await vhca(`hca rm n1 --domain ${two.pid} --json`)).stdout) as { socketPath: string };
  assert.match(view.socketPath, /\/two\/n1.sock$/);
  assert.match((await vhca("hca show n1")).stdout, /\/one\/n1.sock/);
  assert.match((await vhca("hca add n5 --beside n3")).stdout, /\/two\/n5.sock/);
  assert.match((await vhca(`hca add n6 --domain ${one.pid}`)).stdout, /\/one\/n6.sock/);

  assert.equal((await vhca("up --hca n1")).status, 0);
  assert.doesNotMatch((await vhca("hca show n1")).stdout, /\/one\//, "the one that is up");
  const captured = await vhca(`capture ${join(folder, "x")} --port n1 n2 --seconds 0.1 --json`);
  assert.deepEqual((JSON.parse(captured.stdout) as { ports: string[] }).ports, ["n1", "n2"], "the only one that has both");
  assert.ok(existsSync(join(folder, "x")));
});

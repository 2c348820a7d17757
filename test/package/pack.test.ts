// The package as users install it: built JavaScript, because Node does not strip types below node_modules.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("../..", import.meta.url));

/** Of the compiled part of the transport: a package brings the result. */
const COMPILER = ["assemblyscript", "binaryen"];

const LOAD_PROGRAM = `
import { loadPlainProgram } from "./node_modules/vhca/dist/src/domain/plain-program.js";
import { instantiate } from "./node_modules/vhca/dist/src/transport/plain/program.js";
const imports = { translate: () => 0, describeRegion: () => 0, findIcm: () => 0 };
console.log(typeof instantiate(new WebAssembly.Memory({ initial: 1 }), loadPlainProgram(console), imports).run);
`;

const USE_IN_PROCESS = `
import { LocalFabric } from "vhca/in-process";
const context = new LocalFabric().openDevice();
const { state } = await context.portActive();
const cq = context.createCq(10);
const qp = context.allocPd().createQp({ qpType: "RC", sendCq: cq, recvCq: cq });
console.log(state, qp.qpType);
`;

test("npm pack: the command, vhca/vfio-user, vhca/verbs work from node_modules", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-pack-"));
  t.after(() => rmSync(folder, { recursive: true }));
  execFileSync("npm", ["run", "--silent", "build"], { cwd: repository });
  execFileSync("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder], { cwd: repository });
  const [tarball = ""] = readdirSync(folder);
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, "vhca"), { recursive: true });
  execFileSync("tar", ["-xzf", join(folder, tarball), "-C", join(modules, "vhca"), "--strip-components=1"]);
  // what npm would install beside it
  for (const name of readdirSync(join(repository, "node_modules"))) {
    if (!name.startsWith(".") && !COMPILER.includes(name))
      symlinkSync(join(repository, "node_modules", name), join(modules, name));
  }
  const node = (...args: string[]): string => execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8" });

  assert.match(node("node_modules/vhca/bin/vhca.js", "--version"), /^\d+\.\d+\.\d+/);
  assert.match(node("node_modules/vhca/bin/vhca.js", "tour", "--in-process"), /RDMA write 8 B/);
  writeFileSync(
    join(folder, "use.mjs"),
    'import { serve } from "vhca/vfio-user"; import { ConfigSpace } from "vhca/pci"; import { openDevice } from "vhca/verbs"; ' +
      "console.log(typeof serve, typeof ConfigSpace, typeof openDevice);",
  );
  assert.equal(node("use.mjs").trim(), "function function function");
  writeFileSync(join(folder, "load.mjs"), LOAD_PROGRAM);
  assert.equal(node("load.mjs").trim(), "function");
  // everything in one process needs no native module: it works where there is none
  rmSync(join(modules, "koffi"));
  writeFileSync(join(folder, "in-process.mjs"), USE_IN_PROCESS);
  assert.equal(node("in-process.mjs").trim(), "ACTIVE RC");
  // files that are read, not imported
  for (const file of ["src/lab/guest/init", "src/lab/image/root.sh", "bench/guest/store.c", "src/transport/plain/plain.wasm"]) {
    assert.ok(existsSync(join(modules, "vhca", "dist", file)), file);
  }
});

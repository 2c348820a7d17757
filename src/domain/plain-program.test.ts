import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { NOT_PLAIN, SQ_RECORD } from "../transport/plain/layout.ts";
import { instantiate } from "../transport/plain/program.ts";
import { loadPlainProgram } from "./plain-program.ts";

const bytes = loadPlainProgram({ debug: console.log, info: console.log, warn: console.log });
const root = fileURLToPath(new URL("../..", import.meta.url));
const pages = (bytesWanted: number): number => bytesWanted / 65_536;

test("the program works on the memory it is given, and only there", () => {
  assert.ok(bytes);
  const memory = new WebAssembly.Memory({ initial: pages(131_072) });
  const program = instantiate(memory, bytes, { translate: () => false, describeRegion: () => false, findIcm: () => 0 });
  // A queue pair of zeros whose doorbell record says that a request is posted, which cannot be found.
  new DataView(memory.buffer).setUint32(100_000, 1);
  new DataView(memory.buffer).setUint32(70_000 + SQ_RECORD, 100_000, true);
  assert.equal(program.run(70_000, 1000), NOT_PLAIN);
  assert.throws(() => program.run(131_072 - 3, 1000), /out of bounds/);
});

test("it wants nothing but memory and what transport offers: no runtime, nothing that could abort", () => {
  assert.ok(bytes);
  const imports = WebAssembly.Module.imports(new WebAssembly.Module(bytes)).map(({ module, name }) => `${module}.${name}`);
  assert.deepEqual(imports.sort(), ["env.memory", "imports.describeRegion", "imports.findIcm", "imports.translate"]);
});

const COMPILE_TWICE = `
import { loadPlainProgram, optimizeAtOnce } from "${new URL("plain-program.ts", import.meta.url)}";
const bytes = loadPlainProgram(console);
optimizeAtOnce(() => new WebAssembly.Module(bytes));
// With a custom section behind it is another program for V8.
const other = new WebAssembly.Module(Buffer.concat([bytes, Buffer.from([0, 2, 1, 0x61])]));
const imports = { translate: () => 0, describeRegion: () => 0, findIcm: () => 0 };
const memory = new WebAssembly.Memory({ initial: 2 });
new WebAssembly.Instance(other, { env: { memory }, imports }).exports.run(70_000, 1000);
`;

test("V8 optimises it at once, and other programs as ever", () => {
  const args = ["--trace-wasm-compilation-times", "--input-type=module", "--eval", COMPILE_TWICE];
  const { stdout } = spawnSync(process.execPath, args, { encoding: "utf8" });
  // Programs of Node's own are in there, too.
  const all = [...stdout.matchAll(/Compiled function (\w+)#(\d+) using (\w+), .* bodysize (\d+)/g)].map(
    ([, program, index, compiler, bytes]) => ({ program, name: `${index}: ${bytes}`, compiler }),
  );
  const byProgram = Object.values(Object.groupBy(all, ({ program }) => program ?? ""));
  const well = byProgram.find((some = []) => some.length > 8 && some.every(({ compiler }) => compiler === "TurboFan")) ?? [];
  assert.ok(well.length > 8, stdout);
  const again = all.filter(({ program, name }) => program !== well[0]?.program && well.some((one) => one.name === name));
  assert.deepEqual([...new Set(again.map(({ compiler }) => compiler))], ["Liftoff"]);
});

/** A clone, as far as the program is concerned, without a compiled program. */
function clone(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "vhca-program-"));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const part of ["src/domain/plain-program.ts", "src/base/log.ts", "src/transport/plain", "package.json"]) {
    mkdirSync(join(folder, part, ".."), { recursive: true });
    cpSync(join(root, part), join(folder, part), { recursive: true, filter: (source) => !source.includes(".wasm") });
  }
  return {
    folder,
    file: join(folder, "src/transport/plain/plain.wasm"),
    source: join(folder, "src/transport/plain/assembly/index.ts"),
  };
}

const LOAD_TWICE = `
import { loadPlainProgram } from "./src/domain/plain-program.ts";
const warnings = [];
const log = { warn: (message) => warnings.push(message) };
const bytes = loadPlainProgram(log) && loadPlainProgram(log);
if (bytes === undefined) loadPlainProgram(log);
const exports = bytes && WebAssembly.Module.exports(new WebAssembly.Module(bytes)).map(({ name }) => name);
console.log(JSON.stringify({ exports, warnings }));
`;

/** What a process gets that wants the program twice. */
function loadTwice(folder: string): { exports?: string[]; warnings: string[] } {
  const args = ["--input-type=module", "--eval", LOAD_TWICE];
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
  assert.equal(stderr, "");
  return JSON.parse(stdout);
}

test("a clone compiles the program when it is first wanted and when a source has changed, else never; an error there is told once", (t) => {
  const { folder, file, source } = clone(t);
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const first = loadTwice(folder);
  assert.deepEqual(first.warnings, []);
  assert.ok(first.exports);
  const { ino } = statSync(file);
  loadTwice(folder);
  assert.equal(statSync(file).ino, ino, "made once");

  appendFileSync(source, "export function added(): i32 { return 1; }\n");
  assert.deepEqual(loadTwice(folder).exports, [...first.exports, "added"]);

  appendFileSync(source, "export function wrong(): i32 { return nowhere; }\n");
  const { exports, warnings } = loadTwice(folder);
  assert.equal(exports, undefined, "the old program does not fit the new sources");
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? "", /nowhere/);
});

test("without the compiler there is no program, and one warning says how to get it", (t) => {
  const { exports, warnings } = loadTwice(clone(t).folder);
  assert.equal(exports, undefined);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? "", /assemblyscript.*not installed.*npm ci && npm run build:wasm/);
});

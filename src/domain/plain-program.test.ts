import assert from "node:assert/strict";
import { test } from "node:test";
import { instantiate } from "../transport/plain/program.ts";
import { loadPlainProgram } from "./plain-program.ts";

const bytes = loadPlainProgram({ debug: console.log, info: console.log, warn: console.log });
const pages = (bytesWanted: number): number => bytesWanted / 65_536;

test("the program works on the memory it is given, and only there", () => {
  assert.ok(bytes);
  const memory = new WebAssembly.Memory({ initial: pages(131_072) });
  const program = instantiate(memory, bytes);
  new DataView(memory.buffer).setUint32(70_000, 0x01020304);
  assert.equal(program.probe(70_000), 0x01020304);
  assert.throws(() => program.probe(131_072 - 3), /out of bounds/);
});

test("it wants nothing but memory from outside: no runtime, nothing that could abort", () => {
  assert.ok(bytes);
  const imports = WebAssembly.Module.imports(new WebAssembly.Module(bytes)).map(({ module, name }) => `${module}.${name}`);
  assert.deepEqual(imports, ["env.memory"]);
});

// docs/verbs.md is one program in pieces; here it runs.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const urlOf = (path: string): string => pathToFileURL(join(repository, path)).href;
const ENTRIES = { "vhca/verbs": "src/verbs/index.ts", "vhca/in-process": "src/domain/local-fabric.ts" };

test("the program of docs/verbs.md runs and says what the page says", (t) => {
  const page = readFileSync(join(repository, "docs/verbs.md"), "utf8");
  let program = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code).join("\n");
  for (const [name, path] of Object.entries(ENTRIES)) program = program.replaceAll(`"${name}"`, `"${urlOf(path)}"`);
  const folder = mkdtempSync(join(tmpdir(), "vhca-docs-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "page.ts"), program);
  const output = execFileSync(process.execPath, [join(folder, "page.ts")], { encoding: "utf8", timeout: 60_000 });
  assert.deepEqual(output.trim().split("\n").slice(1), [
    ...[
      "RTS 1028",
      "5 hello",
      "9 SUCCESS RDMA_WRITE",
      "1 SUCCESS RDMA_WRITE",
      "may I?",
      "you may RTS true",
      "REMOTE",
      "true 2048",
      "ETIMEDOUT",
      "PORT_ACTIVE",
    ],
  ]);
});

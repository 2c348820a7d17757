// Puts each fault of faults.ts into a copy of the project and runs the tests of device and transport there: they must fail. Prints a line
// per fault; exit status 1 if one was not noticed. npm run mutate [-- WORD]: only those whose description holds the word.

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Fault, faults } from "./faults.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const TESTS = ["test/conformance/*.test.ts", "test/in-process/*.test.ts", "src/spec/hca/*.test.ts", "src/base/*.test.ts"];

const FILE_TIMEOUT_MS = 120_000;

/** Names of the tests that failed with the fault in place; undefined if it no longer fits the code. */
function failuresWith(fault: Fault): string[] | undefined {
  const folder = mkdtempSync(join(tmpdir(), "vhca-mutation-"));
  try {
    // With their times: the compiled part is compiled again only if the fault is there (src/domain/plain-program.ts).
    const options = { recursive: true, preserveTimestamps: true };
    for (const name of ["src", "test", "docs", "package.json"]) cpSync(join(ROOT, name), join(folder, name), options);
    symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
    const file = join(folder, fault.file);
    const text = readFileSync(file, "utf8");
    if (!text.includes(fault.from)) return undefined;
    writeFileSync(file, text.replace(fault.from, fault.to));
    // With a fault, a test may go on for ever: its file is ended, which is noticing, too.
    const args = ["--test", `--test-timeout=${FILE_TIMEOUT_MS}`, "--test-reporter=tap", ...TESTS];
    const run = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
    return [...run.stdout.matchAll(/^not ok \d+ - (.*)$/gm)].map((match) => match[1] ?? "");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const wanted = process.argv[2] ?? "";
let missed = 0;
for (const fault of faults.filter(({ what }) => what.includes(wanted))) {
  const failures = failuresWith(fault);
  if (failures === undefined) console.log(`OUT OF DATE  ${fault.what}: ${fault.file} has changed`);
  else if (failures.length === 0) console.log(`NOT NOTICED  ${fault.what} (${fault.file})`);
  else console.log(`noticed      ${fault.what}: by ${failures.length} tests, ${failures[0]}`);
  if (failures === undefined || failures.length === 0) missed++;
}
process.exitCode = missed > 0 ? 1 : 0;

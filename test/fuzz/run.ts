// `npm run fuzz [-- TARGET]`: one target after another, or the one named, each in a process of its own for FUZZ_SECONDS (60).
// Prints progress, and one line for each at the end. Exit status 1 if one failed, 2 if there is none of that name.

import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isWanted } from "./kit.ts";
import { PROGRESS_PREFIX } from "./progress.ts";

const SECONDS_BY_DEFAULT = "60";
const TEST_FILE = /\.test\.ts$/;
/** Tests in this folder that are no targets: of the kit, and cases once found. */
const NO_TARGET = /^(kit|found.*)\.test\.ts$/;
/** A target's name where it is declared; up to the part that is computed. */
const DECLARED = /\bfuzz\(\s*["`]([^"`$]+)/g;

/** Where targets are; the differential test of the engine is one of them. */
const folders = [import.meta.dirname, join(import.meta.dirname, "../differential")];
/** The targets of each file that has some. */
const targetsOf = new Map<string, string[]>();
for (const folder of folders) {
  for (const name of readdirSync(folder).filter((name) => TEST_FILE.test(name) && !NO_TARGET.test(name))) {
    const file = join(folder, name);
    const targets = [...readFileSync(file, "utf8").matchAll(DECLARED)].map(([, target]) => target!);
    if (targets.length > 0) targetsOf.set(file, targets);
  }
}

interface Result {
  line: string;
  hasFailed: boolean;
}

/** Runs the targets of one file, or those of them that `filter` lets run; progress goes to our stderr, the report is shown if one fails. */
function runFile(file: string, filter: string | undefined): Promise<Result> {
  const { FUZZ_SEED, FUZZ_SECONDS } = process.env;
  const seconds = FUZZ_SECONDS ?? (FUZZ_SEED === undefined ? SECONDS_BY_DEFAULT : undefined);
  const child = spawn(process.execPath, [file], {
    env: {
      ...process.env,
      FUZZ_PROGRESS: "1",
      ...(filter === undefined ? {} : { FUZZ_TARGET: filter }),
      ...(seconds === undefined ? {} : { FUZZ_SECONDS: seconds }),
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let report = "";
  const last = new Map<string, string>();
  child.stdout.on("data", (chunk) => {
    report += chunk;
  });
  child.stderr.on("data", (chunk) => {
    process.stderr.write(chunk);
    for (const line of String(chunk).split("\n")) {
      if (line.startsWith(PROGRESS_PREFIX)) last.set(line.split(/\s+/)[1] ?? "", line.slice(PROGRESS_PREFIX.length));
    }
  });
  return new Promise((resolve) => {
    child.on("close", (code) => {
      const hasFailed = code !== 0 || last.size === 0;
      if (hasFailed) process.stdout.write(report);
      const lines = [...last.values()].map((line) => `${hasFailed ? "FAILED " : "ok     "}${line}`);
      resolve({ hasFailed, line: lines.join("\n") || `FAILED ${filter ?? file}: no case has run` });
    });
  });
}

const filter = process.argv[2] ?? process.env.FUZZ_TARGET;
/** The end of a name may be computed where it is declared: `sm/` and what follows. */
const mayRun = (target: string): boolean =>
  isWanted(target, filter) || (target.endsWith("/") && filter?.startsWith(target) === true);
const wanted = [...targetsOf].filter(([, targets]) => targets.some(mayRun)).map(([file]) => file);
if (wanted.length === 0) {
  console.error(`no such target: ${filter}. There are: ${[...targetsOf.values()].flat().join(", ")}`);
  process.exitCode = 2;
}
const results: Result[] = [];
for (const file of wanted) results.push(await runFile(file, filter));
for (const { line } of results) console.log(line);
if (results.some(({ hasFailed }) => hasFailed)) process.exitCode = 1;

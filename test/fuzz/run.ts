// `npm run fuzz [-- TARGET]`: one target after another, or the one named, each in a process of its own for FUZZ_SECONDS (60).
// Prints progress, and one line for each at the end. Exit status 1 if one failed, 2 if there is none of that name.

import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { PROGRESS_PREFIX } from "./progress.ts";

const SECONDS_BY_DEFAULT = "60";
const SUFFIX = ".test.ts";
/** Tests in this folder that are no targets: of the kit, and cases once found. */
const NO_TARGET = /^(kit|found.*)$/;

/** Where targets are; the differential test of the engine is one of them. */
const folders = [import.meta.dirname, join(import.meta.dirname, "../differential")];
const fileOf = new Map<string, string>();
for (const folder of folders) {
  for (const name of readdirSync(folder)) {
    const target = basename(name, SUFFIX);
    if (name.endsWith(SUFFIX) && !NO_TARGET.test(target)) fileOf.set(target, join(folder, name));
  }
}
const targets = [...fileOf.keys()];

interface Result {
  line: string;
  hasFailed: boolean;
}

/** Runs the file of one target; its progress goes to our stderr, its report is shown if it fails. */
function runTarget(target: string, filter: string): Promise<Result> {
  const { FUZZ_SEED, FUZZ_SECONDS } = process.env;
  const seconds = FUZZ_SECONDS ?? (FUZZ_SEED === undefined ? SECONDS_BY_DEFAULT : undefined);
  const env = { ...process.env, FUZZ_PROGRESS: "1", FUZZ_TARGET: filter };
  const child = spawn(process.execPath, [fileOf.get(target) ?? target], {
    env: seconds === undefined ? env : { ...env, FUZZ_SECONDS: seconds },
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
      resolve({ hasFailed, line: lines.join("\n") || `FAILED ${filter}: no case has run` });
    });
  });
}

const filter = process.argv[2] ?? process.env.FUZZ_TARGET;
const wanted = filter === undefined ? targets : targets.filter((name) => name === filter.split("/")[0]);
if (wanted.length === 0) {
  console.error(`no such target: ${filter}. There are: ${targets.join(", ")}`);
  process.exitCode = 2;
}
const results: Result[] = [];
for (const target of wanted) results.push(await runTarget(target, filter ?? target));
for (const { line } of results) console.log(line);
if (results.some(({ hasFailed }) => hasFailed)) process.exitCode = 1;

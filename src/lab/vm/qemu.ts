// Finds a QEMU with vfio-user-pci (≥ 10.1): the one the user names, the machine's own, or the tree in the cache.

import { join } from "node:path";
import type { Cache } from "../packages/cache.ts";
import { findTree, QEMU, type Tool, treeTool } from "../packages/tree.ts";
import { identifyFile } from "../paths.ts";
import { findProgram, runCommand } from "../run-command.ts";

const PROGRAM = "qemu-system-x86_64";

export interface Qemu {
  readonly tool: Tool;
  readonly version: string;
  readonly where: "VHCA_QEMU" | "system" | "cache";
}

/** Where a tree keeps firmware; a QEMU run through a foreign loader does not find it by itself. */
export function qemuOfTree(tree: string): Tool {
  const { file, args } = treeTool(tree, `usr/bin/${PROGRAM}`);
  return { file, args: [...args, "-L", join(tree, "usr/share/qemu"), "-L", join(tree, "usr/share/seabios")] };
}

/** The version, if this program runs and has the device. */
async function probe(tool: Tool): Promise<string | undefined> {
  const [version, devices] = await Promise.all([
    runCommand(tool.file, [...tool.args, "--version"]),
    runCommand(tool.file, [...tool.args, "-device", "help"]),
  ]);
  const number = /version ([\d.]+)/.exec(version.stdout)?.[1];
  return devices.stdout.includes('"vfio-user-pci"') ? number : undefined;
}

/** Asking takes 0.2 s: a program that was found good stays so until it is replaced. */
async function probeOnce(cache: Cache, tool: Tool): Promise<string | undefined> {
  const key = [identifyFile(tool.file), ...tool.args].join(" ");
  const known = cache.readState().qemus[key];
  if (known !== undefined) return known;
  const version = await probe(tool);
  if (version !== undefined)
    cache.updateState((state) => {
      state.qemus = { [key]: version };
    });
  return version;
}

/** What the machine has besides our cache: for `findQemu`, and for `doctor` to name a QEMU that is too old. */
export async function findSystemQemu(): Promise<{ path: string; version: string | undefined } | undefined> {
  const path = findProgram(PROGRAM);
  return path === undefined ? undefined : { path, version: await probe({ file: path, args: [] }) };
}

/** The QEMU that will be used, if there is one without fetching anything. */
export async function findQemu(cache: Cache, env = process.env): Promise<Qemu | undefined> {
  const tree = findTree(cache, QEMU);
  const system = findProgram(PROGRAM);
  const candidates: [Qemu["where"], Tool | undefined][] = [
    ["VHCA_QEMU", env.VHCA_QEMU ? { file: env.VHCA_QEMU, args: [] } : undefined],
    ["system", system === undefined ? undefined : { file: system, args: [] }],
    ["cache", tree === undefined ? undefined : qemuOfTree(tree)],
  ];
  for (const [where, tool] of candidates) {
    if (tool === undefined) continue;
    const version = await probeOnce(cache, tool);
    if (version !== undefined) return { tool, version, where };
  }
  return undefined;
}

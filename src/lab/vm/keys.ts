// The SSH keys of one lab: made when it starts, gone with its run folder.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LabError } from "../lab-error.ts";
import type { Cache } from "../packages/cache.ts";
import { findTree, hostTool, TOOLS, type Tool } from "../packages/tree.ts";
import { findProgram, runCommand } from "../run-command.ts";

/** All nodes share one host key, known under this name. */
export const HOST_KEY_ALIAS = "vhca-lab";

export interface SshTools {
  readonly ssh: Tool;
  readonly keygen: Tool;
}

/** The machine's OpenSSH client, else the one of the tools tree; undefined when neither is there yet. */
export function findSshTools(cache: Cache): SshTools | undefined {
  const tree = findTree(cache, TOOLS);
  if (tree === undefined && (findProgram("ssh") === undefined || findProgram("ssh-keygen") === undefined)) return undefined;
  return { ssh: hostTool(tree ?? "", "usr/bin/ssh"), keygen: hostTool(tree ?? "", "usr/bin/ssh-keygen") };
}

export interface LabKeys {
  readonly hostKey: string;
  /** Logs in as root on every node: for our channel, and from node to node. */
  readonly userKey: string;
  readonly userPublicKey: string;
  readonly knownHosts: string;
}

/** Makes the keys in the lab's run folder: `key`, `host_key`, `known_hosts`. */
export async function makeKeys(tools: SshTools, folder: string): Promise<LabKeys> {
  const make = async (name: string): Promise<[string, string]> => {
    const path = join(folder, name);
    const args = [...tools.keygen.args, "-q", "-t", "ed25519", "-N", "", "-C", "vhca lab", "-f", path];
    const result = await runCommand(tools.keygen.file, args);
    if (result.status !== 0) throw new LabError("build", `ssh-keygen failed: ${result.stderr.trim()}`);
    return [readFileSync(path, "utf8"), readFileSync(`${path}.pub`, "utf8")];
  };
  const [[hostKey, hostPublicKey], [userKey, userPublicKey]] = await Promise.all([make("host_key"), make("key")]);
  const knownHosts = `${HOST_KEY_ALIAS} ${hostPublicKey}`;
  writeFileSync(join(folder, "known_hosts"), knownHosts);
  return { hostKey, userKey, userPublicKey, knownHosts };
}

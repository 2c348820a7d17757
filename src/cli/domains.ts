// Finds the device domains that run on this machine for this user: each has a control socket in its run folder.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Status } from "../control/api.ts";
import { ControlClient } from "../control/client.ts";
import type { HcaView } from "../domain/plugged-hca.ts";
import { runRoot } from "../lab/paths.ts";
import { UsageError } from "./output.ts";

export const CONTROL_SOCKET = "control.sock";
export interface RunningDomain {
  client: ControlClient;
  status: Status;
}

/** Every domain that answers, the one that stays first. */
export async function findDomains(): Promise<RunningDomain[]> {
  const root = runRoot();
  if (!existsSync(root)) return [];
  const sockets = readdirSync(root)
    .map((name) => join(root, name, CONTROL_SOCKET))
    .filter((path) => existsSync(path));
  const found = await Promise.all(sockets.map(ask));
  return found
    .filter((domain) => domain !== undefined)
    .sort((a, b) => Number(b.status.kind === "up") - Number(a.status.kind === "up") || a.status.pid - b.status.pid);
}

async function ask(socketPath: string): Promise<RunningDomain | undefined> {
  const client = new ControlClient(socketPath);
  try {
    return { client, status: await client.status() };
  } catch (error) {
    // A socket that nobody serves any more is nothing to tell; its folder is the janitor's.
    if (error instanceof Error && error.cause === undefined) tellOnce(socketPath, error.message);
    return undefined;
  }
}

const told = new Set<string>();

function tellOnce(socketPath: string, why: string): void {
  if (told.has(socketPath)) return;
  told.add(socketPath);
  process.stderr.write(`vhca: what serves ${socketPath} does not answer as a device domain does, left out: ${why}\n`);
}

/** The domain that `vhca up` started. @throws UsageError if there is none */
export async function getUpDomain(): Promise<RunningDomain> {
  const up = (await findDomains()).find((d) => d.status.kind === "up");
  if (up === undefined) throw new UsageError("no device domain is up; start one with: vhca up");
  return up;
}

/** What `vhca up` and `vhca down` print of a domain as JSON. */
export const domainSummary = ({ pid, hcas }: Status): object => ({
  pid,
  hcas: hcas.map(({ name, socketPath, nodeGuid, doorbells }) => ({ name, socketPath, nodeGuid, doorbells })),
});

/** The HCA of that name in any domain. @throws UsageError if there is none */
export async function getHca(name: string): Promise<{ domain: RunningDomain; hca: HcaView }> {
  const domains = await findDomains();
  for (const domain of domains) {
    const hca = domain.status.hcas.find((h) => h.name === name);
    if (hca !== undefined) return { domain, hca };
  }
  const names = domains.flatMap((d) => d.status.hcas.map((h) => h.name));
  const none = domains.length === 0 ? "no device domain runs" : "no device domain has any";
  throw new UsageError(`there is no HCA named ${name}; ${names.length === 0 ? none : `there are: ${names.join(", ")}`}`);
}

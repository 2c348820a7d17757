// Finds the device domains that run on this machine for this user: each has a control socket in its run folder.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Status } from "../control/api.ts";
import { ControlClient } from "../control/client.ts";
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
  const domains = await findDomains();
  const up = domains.find((d) => d.status.kind === "up");
  if (up !== undefined) return up;
  const runs = domains.length === 0 ? "" : `, only of vhca run, which ends its own (process ${pidsOf(domains)})`;
  throw new UsageError(`no device domain is up${runs}; start one with: vhca up`);
}

/** What `vhca up` and `vhca down` print of a domain as JSON. */
export const domainSummary = ({ pid, hcas }: Status): object => ({
  pid,
  hcas: hcas.map(({ name, socketPath, nodeGuid, doorbells }) => ({ name, socketPath, nodeGuid, doorbells })),
});

/**
 * The domain that has all these HCAs: that of process `pid` if it is given, else the one that is up, or the only one.
 * @throws UsageError if there is none, or several
 */
export async function getDomainOf(names: readonly string[], pid?: number): Promise<RunningDomain> {
  const domains = await findDomains();
  const meant = pid === undefined ? domains : [findByPid(domains, pid)];
  const [first, ...others] = meant.filter((domain) => names.every((name) => hasHca(domain, name)));
  if (first === undefined) throw new UsageError(noHcaText(names, meant));
  if (first.status.kind === "up" || others.length === 0) return first;
  const what = names.length === 0 ? "run" : `have ${names.join(", ")}`;
  throw new UsageError(`several domains ${what}; say by --domain which one is meant: ${pidsOf([first, ...others])}`);
}

/** @throws UsageError */
function findByPid(domains: readonly RunningDomain[], pid: number): RunningDomain {
  const found = domains.find(({ status }) => status.pid === pid);
  if (found !== undefined) return found;
  throw new UsageError(
    `no device domain has process ${pid}; ${domains.length === 0 ? "none runs" : `there are ${pidsOf(domains)}`}`,
  );
}

const pidsOf = (domains: readonly RunningDomain[]): string => domains.map(({ status }) => status.pid).join(", ");
const hasHca = ({ status }: RunningDomain, name: string): boolean => status.hcas.some((hca) => hca.name === name);

function noHcaText(names: readonly string[], domains: readonly RunningDomain[]): string {
  if (names.length === 0) return "no device domain runs; start one with: vhca up";
  const strange = names.find((name) => !domains.some((domain) => hasHca(domain, name)));
  if (strange === undefined) return `${names.join(", ")} are in different domains; name those of one domain`;
  const there = [...new Set(domains.flatMap(({ status }) => status.hcas.map(({ name }) => name)))];
  const none = domains.length === 0 ? "no device domain runs" : "no device domain has any";
  return `there is no HCA named ${strange}; ${there.length === 0 ? none : `there are: ${there.join(", ")}`}`;
}

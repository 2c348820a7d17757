// VMs for tests: started once per file, skipped with a reason where none can be had.

import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Session, type SessionOptions } from "../../src/cli/session.ts";
import { shapeTopology } from "../../src/fabric/topology/shapes.ts";
import type { Topology } from "../../src/fabric/topology/topology.ts";
import { LabError } from "../../src/lab/lab-error.ts";
import { CLOCK_TRIALS, hasLostItsClock } from "../../src/lab/perftest.ts";
import { prepareLab } from "../../src/lab/prepare.ts";
import { untilReady } from "../../src/lab/two-sides.ts";
import type { ExecResult } from "../../src/lab/vm/ssh.ts";

/** Why VMs cannot be had here, or undefined. Fetches and builds what is missing. */
export async function whyNoVms(kernel: "6.12" | "newest" = "6.12"): Promise<string | undefined> {
  try {
    await prepareLab({
      kernel,
      onProgress: ({ step, fraction }) => {
        if (fraction === undefined) process.stderr.write(`# ${step}\n`);
      },
    });
    return undefined;
  } catch (error) {
    if (error instanceof LabError && error.meansNoVms) return error.message;
    throw error;
  }
}

export const quietLog = {
  debug: (): void => {},
  info: (): void => {},
  warn: (message: string): void => process.stderr.write(`# ${message}\n`) as never,
};

/** VMs with HCAs, ended when the test ends. Undefined, and the test skipped, where VMs cannot be had. */
export async function startSession(t: TestContext, options: Omit<SessionOptions, "log">): Promise<Session | undefined> {
  const reason = await whyNoVms(options.kernel);
  if (reason !== undefined) {
    t.skip(`no VMs here: ${reason}`);
    return undefined;
  }
  const session = await Session.start({ ...options, log: quietLog });
  t.after(() => session.stop());
  return session;
}

/** Runs a command in a node; its output. Fails the test if the status is not the expected one. */
export async function run(session: Session, node: string, command: string, status = 0): Promise<string> {
  const result = await session.lab.node(node).exec(command, { timeoutMs: 60_000 });
  assert.equal(result.status, status, `${node}: ${command}\n${result.stdout}\n${result.stderr}`);
  return result.stdout;
}

/**
 * A server on n1 and a client on n2, both of which must succeed; the client's output. Both are run again if perftest says that it
 * could not measure its processor's clock.
 */
export async function serverAndClient(session: Session, server: string, client: string, nodes = ["n1", "n2"]): Promise<string> {
  const [serverNode = "n1", clientNode = "n2"] = nodes;
  for (let trial = 1; ; trial++) {
    const serving = session.lab.node(serverNode).exec(server, { timeoutMs: 60_000 });
    await untilReady(session.lab.node(serverNode), server);
    const tries = await runClient(session, clientNode, client, serving);
    const served = await serving;
    const last = tries.at(-1) as ExecResult;
    if (trial < CLOCK_TRIALS && hasLostItsClock(last, served)) continue;
    if (last.status === 0 && served.status === 0) return last.stdout;
    const said = tries.map((result, i) => describe(`${clientNode}: ${client}, try ${i + 1}`, result));
    assert.fail([...said, describe(`${serverNode}: ${server}`, served)].join("\n"));
  }
}

/** Runs the client until it succeeds: the server may not listen yet. Once the server has ended, another try would hide why it did. */
async function runClient(session: Session, node: string, command: string, serving: Promise<ExecResult>): Promise<ExecResult[]> {
  let hasServerEnded = false;
  const note = (): void => {
    hasServerEnded = true;
  };
  serving.then(note, note);
  const tries: ExecResult[] = [];
  for (;;) {
    const result = await session.lab.node(node).exec(command, { timeoutMs: 60_000 });
    tries.push(result);
    if (result.status === 0 || hasLostItsClock(result) || tries.length > 10) return tries;
    await sleep(300);
    if (hasServerEnded) return tries;
  }
}

const describe = (what: string, { status, stdout, stderr }: ExecResult): string =>
  `${what}: status ${status}\n${stdout}\n${stderr}`;

/** A shape with the names of two nodes exchanged. */
export function exchange(shape: string, a: string, b: string): Topology {
  const topology = shapeTopology(shape);
  const named = (name: string): string => (name === a ? b : name === b ? a : name);
  return {
    ...topology,
    nodes: topology.nodes.map((node) => ({ ...node, name: named(node.name) })),
    links: topology.links.map(({ ends: [x, y], ...link }) => ({
      ...link,
      ends: [
        { ...x, node: named(x.node) },
        { ...y, node: named(y.node) },
      ],
    })),
  };
}

/** What more than one test adds to the guests' image, so that one image is made for all of them. */
export const EXTRA_PACKAGES = ["ibutils", "tshark"];

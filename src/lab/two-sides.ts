// Two programs that belong together, a server on n1 and a client on n2, as perftest has them.

import { setTimeout as sleep } from "node:timers/promises";
import type { Lab } from "./lab.ts";
import type { LabNode } from "./lab-node.ts";
import { CLOCK_TRIALS, hasLostItsClock } from "./perftest.ts";
import type { ExecResult } from "./vm/ssh.ts";

/** Where a program that does not say so soon is taken to listen: emulated guests start programs in about half a second. */
const SERVER_START_MS = 400;
const LOOK_EVERY_S = 0.02;
/** perftest and the pingpongs of libibverbs exchange their addresses over TCP. */
const EXCHANGE_PORT = 18515;
const IS_PERFTEST = /^ibv?_/;
const CLIENT_TRIES = 8;
const RETRY_MS = 300;
const TIMEOUT_MS = 60_000;
const STATUS_TIMED_OUT = 124;

export interface TwoSides {
  /** Runs on n1. */
  readonly server: string;
  /** Runs on n2. */
  readonly client: string;
}

export interface TwoSidesOptions {
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface TwoSidesResult {
  readonly client: ExecResult;
  readonly server: ExecResult;
}

/**
 * Waits until a server that was just started can be called: until it listens, if it is perftest or one of the pingpongs (0.13 s in an emulated
 * guest), else as long as programs take to start.
 */
export async function untilReady(node: LabNode, server: string, signal?: AbortSignal): Promise<void> {
  if (!IS_PERFTEST.test(server)) {
    await sleep(SERVER_START_MS, undefined, { signal });
    return;
  }
  const port = EXCHANGE_PORT.toString(16).toUpperCase();
  const looks = Math.ceil(SERVER_START_MS / 1000 / LOOK_EVERY_S);
  // state 0A of /proc/net/tcp: LISTEN
  const listens = `grep -q ':${port} .* 0A ' /proc/net/tcp /proc/net/tcp6`;
  await node.exec(`for i in $(seq ${looks}); do ${listens} && exit; sleep ${LOOK_EVERY_S}; done`, { signal });
}

/** A server that was ended because its client had failed. */
const ENDED: ExecResult = { status: STATUS_TIMED_OUT, stdout: "", stderr: "", timedOut: true };

/** Runs server and client once. A client that comes too early tries again; both end after `timeoutMs` (a minute). */
export async function runTwoSides(
  lab: Lab,
  { server, client }: TwoSides,
  options: TwoSidesOptions = {},
): Promise<TwoSidesResult> {
  const { signal, timeoutMs = TIMEOUT_MS } = options;
  const ended = new AbortController();
  const serving = lab.node("n1").exec(server, { timeoutMs, signal: joined(signal, ended.signal) });
  serving.catch(() => {});
  await untilReady(lab.node("n1"), server, signal);
  for (let attempt = 1; ; attempt++) {
    const result = await lab.node("n2").exec(client, { timeoutMs, signal });
    const mayListenLater = result.status !== 0 && result.status !== STATUS_TIMED_OUT && !hasLostItsClock(result);
    if (mayListenLater && attempt < CLIENT_TRIES) {
      await sleep(RETRY_MS, undefined, { signal });
      continue;
    }
    // Its client is gone for good: a server that still waits would wait for ever.
    if (result.status !== 0) setTimeout(() => ended.abort(), SERVER_START_MS).unref();
    const server = await serving.catch((error: unknown) => {
      signal?.throwIfAborted();
      if (!ended.signal.aborted) throw error;
      return ENDED;
    });
    return { client: result, server };
  }
}

/** Runs them until both have measured their clocks, a few times at most. */
export async function runPerftest(lab: Lab, sides: TwoSides, options: TwoSidesOptions = {}): Promise<TwoSidesResult> {
  for (let trial = 1; ; trial++) {
    const result = await runTwoSides(lab, sides, options);
    if (trial === CLOCK_TRIALS || !hasLostItsClock(result.client, result.server)) return result;
  }
}

const joined = (first: AbortSignal | undefined, second: AbortSignal): AbortSignal =>
  first === undefined ? second : AbortSignal.any([first, second]);

/** What to say of programs that failed: their last words. */
export function lastWords({ client, server }: TwoSidesResult): string {
  const words = (result: ExecResult): string => `${result.stdout}${result.stderr}`.trim().split("\n").slice(-3).join("\n");
  return `client status ${client.status}, server status ${server.status}\n${words(client.status === 0 ? server : client)}`;
}

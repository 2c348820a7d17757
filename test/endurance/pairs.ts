// A server in one guest and a client in another, as stock programs come; with the wish to see both outcomes, not only success.

import { setTimeout as sleep } from "node:timers/promises";
import type { Session } from "../../src/cli/session.ts";
import type { ExecResult } from "../../src/lab/vm/ssh.ts";

/** What a client says whose server does not listen yet (8 is RDMA_CM_EVENT_REJECTED): it is started again. */
const NOT_LISTENING =
  /Couldn't connect|Connection refused|REJECT|UNREACHABLE|ADDR_ERROR|Unexpected CM event bl blka 8|connect error|rconnect/i;
const ATTEMPTS = 8;
const START_MS = 300;
/** A server whose client has failed may say what it thinks of it before it is ended. */
const PARTING_MS = 2000;

export interface PairOutcome {
  readonly server: ExecResult;
  readonly client: ExecResult;
}

export interface PairOptions {
  /** Where server and client run (n1, n2). */
  readonly nodes?: readonly [string, string];
  readonly timeoutMs?: number;
}

/** Runs both programs to their ends; a server whose client failed is ended. */
export async function runPair(
  { lab }: Session,
  server: string,
  client: string,
  { nodes: [serverNode, clientNode] = ["n1", "n2"], timeoutMs = 60_000 }: PairOptions = {},
): Promise<PairOutcome> {
  for (let attempt = 1; ; attempt++) {
    const end = new AbortController();
    let outcome: ExecResult | undefined;
    const serving = lab
      .node(serverNode)
      .exec(server, { timeoutMs: timeoutMs + PARTING_MS, signal: end.signal })
      .catch((error: Error): ExecResult => ({ status: -1, stdout: "", stderr: error.message, timedOut: false }))
      .then((result) => (outcome = result));
    await sleep(START_MS * attempt);
    const result = await lab.node(clientNode).exec(client, { timeoutMs });
    if (result.status !== 0) {
      await Promise.race([serving, sleep(PARTING_MS)]);
      end.abort();
    }
    await serving;
    const mayListenLater = result.status !== 0 && NOT_LISTENING.test(result.stdout + result.stderr);
    if (outcome !== undefined && (!mayListenLater || attempt === ATTEMPTS)) return { server: outcome, client: result };
  }
}

/** Both outcomes as a reader wants them in a failed test. */
export function pairText({ server, client }: PairOutcome): string {
  const text = (who: string, { status, stdout, stderr }: ExecResult): string =>
    `${who}: status ${status}\n${stdout.slice(-2000)}\n${stderr.slice(-1000)}`;
  return `${text("client", client)}\n${text("server", server)}`;
}

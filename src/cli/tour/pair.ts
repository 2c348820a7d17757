// Runs measurements between n1 and n2 of a session and counts the vfio-user messages that each took.

import { setTimeout as sleep } from "node:timers/promises";
import type { DomainView } from "../../domain/protocol.ts";
import { CLOCK_TRIALS, hasLostItsClock } from "../../lab/perftest.ts";
import type { ExecResult } from "../../lab/vm/ssh.ts";
import type { Session } from "../session.ts";
import type { Measurement } from "./measurements.ts";

/** Until a server listens: emulated guests start programs in about half a second. */
const SERVER_START_MS = 400;
const CLIENT_TRIES = 8;
const RETRY_MS = 300;
const TIMEOUT_MS = 60_000;

/** One measured figure. */
export interface Figure {
  name: string;
  kind: "latency" | "bandwidth";
  unit: string;
  value: number;
  /** Data operations that the HCAs carried out, and vfio-user messages that arrived meanwhile, set-up of the program included. */
  operations: number;
  messages: number;
}

/** Runs server and client; throws if either fails or the output has no figure. */
export async function measure(session: Session, measurement: Measurement): Promise<Figure> {
  const { name, kind, unit } = measurement;
  for (let trial = 1; ; trial++) {
    const before = await session.describe();
    const { client, server } = await runPair(session, measurement);
    if (trial < CLOCK_TRIALS && hasLostItsClock(client, server)) continue;
    const after = await session.describe();
    const value = measurement.parse(client.stdout);
    if (client.status !== 0 || server.status !== 0 || value === undefined) {
      const output = `${client.stdout}${client.stderr}`.trim().split("\n").slice(-3).join("\n");
      throw new Error(`${measurement.client}: status ${client.status}, server status ${server.status}\n${output}`);
    }
    return {
      name,
      kind,
      unit,
      value,
      operations: sum(after, operationsOf) - sum(before, operationsOf),
      messages: sum(after, messagesOf) - sum(before, messagesOf),
    };
  }
}

async function runPair({ lab }: Session, measurement: Measurement): Promise<{ client: ExecResult; server: ExecResult }> {
  const serving = lab.node("n1").exec(measurement.server, { timeoutMs: TIMEOUT_MS });
  serving.catch(() => {});
  await sleep(SERVER_START_MS);
  for (let attempt = 1; ; attempt++) {
    const client = await lab.node("n2").exec(measurement.client, { timeoutMs: TIMEOUT_MS });
    const mayListenLater = client.status !== 0 && client.status !== 124 && !hasLostItsClock(client);
    if (!mayListenLater || attempt === CLIENT_TRIES) return { client, server: await serving };
    await sleep(RETRY_MS);
  }
}

type HcaView = DomainView["hcas"][number];

const sum = (view: DomainView, of: (hca: HcaView) => number): number => view.hcas.reduce((total, hca) => total + of(hca), 0);

const messagesOf = (hca: HcaView): number => hca.messages.messagesIn ?? 0;

function operationsOf({ counters }: HcaView): number {
  const kinds = ["sends", "rdmaWrites", "rdmaReads", "atomics"] as const;
  return kinds.reduce((total, kind) => total + (counters[kind] ?? 0), 0);
}

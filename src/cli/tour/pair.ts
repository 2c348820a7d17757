// Runs measurements between n1 and n2 of a session and counts the vfio-user messages that each took.

import type { DomainView } from "../../domain/protocol.ts";
import { lastWords, runPerftest } from "../../lab/two-sides.ts";
import type { Session } from "../session.ts";
import type { Measurement } from "./measurements.ts";

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
  const before = await session.describe();
  const result = await runPerftest(session.lab, measurement);
  const after = await session.describe();
  const { client, server } = result;
  const value = measurement.parse(client.stdout);
  if (client.status !== 0 || server.status !== 0 || value === undefined)
    throw new Error(`${measurement.client}: ${lastWords(result)}`);
  return {
    name,
    kind,
    unit,
    value,
    operations: sum(after, operationsOf) - sum(before, operationsOf),
    messages: sum(after, messagesOf) - sum(before, messagesOf),
  };
}

type HcaView = DomainView["hcas"][number];

const sum = (view: DomainView, of: (hca: HcaView) => number): number => view.hcas.reduce((total, hca) => total + of(hca), 0);

const messagesOf = (hca: HcaView): number => hca.messages.messagesIn ?? 0;

function operationsOf({ counters }: HcaView): number {
  const kinds = ["sends", "rdmaWrites", "rdmaReads", "atomics"] as const;
  return kinds.reduce((total, kind) => total + (counters[kind] ?? 0), 0);
}

// One of many programs that poll at the same time: it holds two HCAs of a domain that belongs to its parent, and writes from one to the
// other. Arguments: NAME=SOCKET of both.

import { once } from "node:events";
import type { DomainView } from "../../src/domain/protocol.ts";
import { bootGuests, type Guest } from "./guest.ts";
import { joinGuests } from "./link.ts";
import { WRITES_PER_BATCH, writeRate } from "./loops.ts";

export type MemberRequest = { readonly kind: "view"; readonly view: DomainView } | { readonly kind: "run"; readonly ms: number };
export type MemberAnswer =
  | { readonly kind: "describe" }
  | { readonly kind: "ready" }
  | { readonly kind: "done"; readonly writes: number };

/** Batches between two looks at the clock: some tens of microseconds of work. */
const BATCHES = 32;
const WARM_UP_BATCHES = 2000;

const paths = new Map(process.argv.slice(2).map((text) => text.split("=") as [string, string]));
const say = (answer: MemberAnswer): void => void process.send?.(answer);

async function nextRequest(): Promise<MemberRequest> {
  const [request] = (await once(process, "message")) as [MemberRequest];
  return request;
}

async function describe(): Promise<DomainView> {
  say({ kind: "describe" });
  const request = await nextRequest();
  if (request.kind !== "view") throw new Error("invariant: asked for a view");
  return request.view;
}

process.on("disconnect", () => process.exit(0));
const domain = { socketPath: (name: string): string => paths.get(name) ?? "", describe };
const guests = await bootGuests(domain, [...paths.keys()], { memoryMiB: 16, mtts: 2 ** 13 });
const link = joinGuests(...(guests as [Guest, Guest]));
writeRate(link, WARM_UP_BATCHES);
say({ kind: "ready" });
for (;;) {
  const request = await nextRequest();
  if (request.kind !== "run") continue;
  const end = performance.now() + request.ms;
  let batches = 0;
  for (; performance.now() < end; batches += BATCHES) writeRate(link, BATCHES);
  say({ kind: "done", writes: batches * WRITES_PER_BATCH });
}

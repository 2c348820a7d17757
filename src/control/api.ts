// The control API: HTTP with JSON over a UNIX socket. Paths, bodies and answers, shared by server and client.
//
//   GET    /v1/status                       → Status
//   POST   /v1/hcas                         AddHca → HcaView
//   GET    /v1/hcas/NAME                    → HcaView
//   DELETE /v1/hcas/NAME                    → {}
//   GET    /v1/hcas/NAME/tree?limit=COUNT   → HcaTree: the live device with at most COUNT (4096) objects of each kind
//   GET    /v1/hcas/NAME/qp/NUMBER          → QpDetails
//   GET    /v1/hcas/NAME/cq/NUMBER          → CqDetails
//   GET    /v1/hcas/NAME/srq/NUMBER         → SrqDetails
//   GET    /v1/hcas/NAME/region/KEY         → RegionDetails, by lkey or rkey as the guest writes it
//   GET    /v1/capture?port=NAME&port=…     → a pcapng stream: packets of these HCAs, of all if none is named, until DELETE
//   DELETE /v1/capture                      → {} and the stream ends with what has been captured
//   …      /v1/fabric/…                     see fabric-api.ts
//   …      /v1/faults…                      see fault-api.ts
//   POST   /v1/stop                         → {} and the domain ends
//
// NUMBER and KEY are decimal or 0x…. What does not exist is answered 404 and ApiError, what makes no sense 400 and ApiError.
// A listing of objects is { count, isCut, items }: where `isCut`, `items` leaves some of the `count` out.

import { z } from "zod";
import { LISTED_MAX } from "../domain/inspect.ts";
import type { DomainView } from "../domain/protocol.ts";
import type { Quota } from "../hca/limits.ts";

export const API_VERSION = "v1";

/** Names become file names and host names; `control.sock` is the API's own. */
export const HcaName = z
  .string()
  .regex(/^[a-zA-Z][a-zA-Z0-9-]{0,30}$/, "expected a letter followed by at most 30 letters, digits or '-'")
  .refine((name) => name !== "control", "expected another name: the control API's socket has this one");

const count = z.number().int().min(1);

/** What an HCA may have; see `Quota` in hca/limits.ts. What is not named keeps its default. */
export const QuotaChanges = z
  .strictObject({ qps: count, cqs: count, srqs: count, regions: count, registeredBytes: count, commandsPerSecond: count })
  .partial()
  // In its types an absent value may be "undefined"; in what was parsed it is absent.
  .transform((quota) => quota as Partial<Quota>);

export const AddHca = z.object({
  name: HcaName,
  doorbells: z.enum(["mapped", "trapped"]).default("mapped"),
  quota: QuotaChanges.optional(),
});
export type AddHca = z.input<typeof AddHca>;

/** Numbers of objects and memory keys: 32 bits. */
export const ObjectNumber = z
  .string()
  .regex(/^(0x[0-9a-fA-F]+|[0-9]+)$/, "expected a number, decimal or 0x…")
  .transform(Number)
  .refine((number) => number < 2 ** 32, "expected a number below 2^32");

export const TreeQuery = z.object({ limit: z.coerce.number().int().min(0).max(LISTED_MAX).default(LISTED_MAX) });

/** Ports by the names of their HCAs; one may come as a text, several as a list. */
export const CaptureQuery = z.object({
  port: z.union([z.string().transform((name) => [name]), z.array(z.string())]).default([]),
});

export type { HcaTree, SessionView } from "../domain/inspect.ts";
export type * from "../hca/inspect.ts";

/** What a running domain says of itself. */
export interface Status extends DomainView {
  pid: number;
  version: string;
  /** `up` for one that stays, `run` for one that belongs to a `vhca run`. */
  kind: "up" | "run";
  startedAt: string;
}

/** Body of every answer that is not a success. */
export interface ApiError {
  error: string;
}

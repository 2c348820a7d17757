// The control API: HTTP with JSON over a UNIX socket. Paths, bodies and answers, shared by server and client.
//
//   GET    /v1/status        → Status
//   POST   /v1/hcas          AddHca → HcaView
//   GET    /v1/hcas/NAME     → HcaView
//   DELETE /v1/hcas/NAME     → {}
//   POST   /v1/stop          → {} and the domain ends

import { z } from "zod";
import type { DomainView } from "../domain/protocol.ts";

export const API_VERSION = "v1";

/** Names become file names and host names. */
export const HcaName = z
  .string()
  .regex(/^[a-zA-Z][a-zA-Z0-9-]{0,30}$/, "expected a letter followed by at most 30 letters, digits or '-'");

export const AddHca = z.object({
  name: HcaName,
  doorbells: z.enum(["mapped", "trapped"]).default("mapped"),
});
export type AddHca = z.input<typeof AddHca>;

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

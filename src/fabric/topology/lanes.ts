// Virtual lanes in a topology file:
//
//   lanes: true                     with receive buffers of 16 KiB for each lane of a port
//   lanes: { buffer: 8KiB, head-of-queue: 100us }
//
// The second is how long a packet may be the first of its queue in a switch, rounded up to a power of two times 4.096 µs; a second if left out.

import { z } from "zod";
import { MAX_BUFFER_BYTES, MIN_BUFFER_BYTES } from "../lanes/limits.ts";
import { lifeCode } from "../lanes/link-rate.ts";
import type { TopologyLanes } from "./topology.ts";
import { duration } from "./yaml-document.ts";

const KIB = 1024;
const BUFFER = `expected bytes of a buffer, ${MIN_BUFFER_BYTES} to ${MAX_BUFFER_BYTES}, such as 8192 or 8KiB`;

const bytes = z
  .union(
    [
      z.bigint().transform(Number),
      z
        .string()
        .regex(/^\d+KiB$/, BUFFER)
        .transform((text) => Number.parseInt(text, 10) * KIB),
    ],
    { error: BUFFER },
  )
  .refine((value) => value >= MIN_BUFFER_BYTES && value <= MAX_BUFFER_BYTES, BUFFER);

export const LanesSchema = z.union(
  [z.boolean(), z.strictObject({ buffer: bytes.optional(), "head-of-queue": duration.optional() })],
  {
    error: "expected true, or { buffer: 8KiB, head-of-queue: 100us }",
  },
);

export function readLanes(written: z.output<typeof LanesSchema>): TopologyLanes | undefined {
  if (typeof written === "boolean") return written ? {} : undefined;
  const { buffer, "head-of-queue": headNs } = written;
  return {
    ...(buffer === undefined ? {} : { bufferBytes: buffer }),
    ...(headNs === undefined ? {} : { headOfQueueLife: lifeCode(headNs) }),
  };
}

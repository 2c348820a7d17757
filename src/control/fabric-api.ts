// The part of the control API that changes the fabric: bodies and their bounds.
//
//   GET    /v1/fabric/nodes?from=N&limit=M      → Page<NodeView>: at most M (256) nodes from number N; `next` is where the rest begins
//   GET    /v1/fabric/links?from=N&limit=M      → Page<LinkView>, likewise
//   GET    /v1/fabric/nodes/NAME                → NodeDetails, with the virtual lanes of its ports
//   POST   /v1/fabric/nodes                     AddNode → NodeView
//   DELETE /v1/fabric/nodes/NAME                → NodeView, as it was
//   POST   /v1/fabric/links                     AddCable → LinkView
//   PATCH  /v1/fabric/links/NODE:PORT           ChangeLink → LinkView
//   DELETE /v1/fabric/links/NODE:PORT           → LinkView, as it was
//   GET    /v1/fabric/path?from=A&to=B&offset=N → PathView
//
// A host with one port, or a node with one cable, may do without :PORT.

import { z } from "zod";
import { MAX_NODE_PORTS } from "../fabric/limits.ts";
import { SPEEDS, type SpeedName, WIDTHS, type WidthName } from "../fabric/topology/topology.ts";

/** Nodes, or links, of the fabric in one answer. */
export const FABRIC_PAGE_MAX = 1024;
export const FabricPageQuery = z.object({
  from: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(FABRIC_PAGE_MAX).default(256),
});

const width = z.enum(Object.keys(WIDTHS) as [WidthName]);
const speed = z.enum(Object.keys(SPEEDS) as [SpeedName]);
const rate = { width: z.union([width, z.literal("auto")]).optional(), speed: z.union([speed, z.literal("auto")]).optional() };
const end = z.string().min(1).max(100);

/** Of a cable; the fabric knows the bounds. */
export const FaultValues = z
  .strictObject({ loss: z.number(), corruption: z.number(), delayNs: z.number() })
  .partial()
  // In its types an absent value may be "undefined"; in what was parsed it is absent.
  .transform((values) => values as { loss?: number; corruption?: number; delayNs?: number });

export const ChangeLink = z.strictObject({
  isPlugged: z.boolean().optional(),
  faults: FaultValues.nullable().optional(),
  ...rate,
});
export type ChangeLink = z.input<typeof ChangeLink>;

export const AddCable = z.strictObject({ ends: z.tuple([end, end]), ...rate });
export type AddCable = z.input<typeof AddCable>;

const GUID = "expected a GUID such as 0x0002c90200000010";
export const AddNode = z
  .strictObject({
    kind: z.enum(["switch", "host"]),
    name: z.string(),
    ports: z.number().int().optional(),
    guid: z
      .string()
      .regex(/^0x[0-9a-fA-F]{1,16}$/, GUID)
      .transform(BigInt)
      .optional(),
    description: z.string().optional(),
    at: z.array(end).max(MAX_NODE_PORTS).optional(),
    width: width.optional(),
    speed: speed.optional(),
  })
  .transform(({ ports, guid, description, ...node }) => ({
    ...node,
    portCount: ports ?? DEFAULT_PORTS[node.kind],
    ...(guid === undefined ? {} : { guid }),
    ...(description === undefined ? {} : { description }),
  }));
export type AddNode = z.input<typeof AddNode>;

/** As in a topology. */
const DEFAULT_PORTS = { switch: 36, host: 1 } as const;

export const PathQuery = z.object({ from: end, to: end, offset: z.coerce.number().int().min(0).max(127).default(0) });

// Partitions and quality of service in a topology file:
//
//   partitions:
//     blue: { pkey: 0x11, full: [n1, n2], limited: ["m[1-16]"], ipoib: true, sl: 1 }
//     default: { limited: all }                   whoever is in no list of it is a limited member anyway
//   qos:
//     vl: [0, 1, 2, 3]                            virtual lane of SL 0, 1, …; the others begin again
//     high: { 1: 64 }                             turns of high and of low priority: lane and weight
//     low: { 0: 4, 2: 8, 3: 8 }
//     high-limit: 4
//     levels: [{ sl: 2, service: 0x1000000000000 }, { sl: 3, class: 5 }]
//
// Without `default`, all hosts are full members of the default partition.

import { z } from "zod";
import type { TopologyPartition, TopologyQos } from "./topology.ts";
import { strict } from "./yaml-document.ts";

const DEFAULT_PKEY = 0x7fff;
const SL_COUNT = 16;
const VL_COUNT = 8;
/** Turns that a VLArbitration block has room for. */
const MAX_TURNS = 32;
const WEIGHT_MAX = 255;

const whole = (what: string, from: number, to: number) =>
  z
    .bigint({ error: `expected ${what}, ${from} to ${to}` })
    .refine((value) => value >= BigInt(from) && value <= BigInt(to), `expected ${what}, ${from} to ${to}`)
    .transform(Number);
const sl = whole("a service level", 0, SL_COUNT - 1);
const vl = whole("a virtual lane", 0, VL_COUNT - 1);
const members = z.union([z.literal("all"), z.array(z.string())], { error: "expected a list of hosts, or all" });
const pkey = z
  .bigint({ error: "expected a P_Key such as 0x11" })
  .refine((key) => key >= 1n && key <= 0x7fffn, "expected a P_Key of 0x1 to 0x7fff, without the membership bit")
  .transform(Number);

export const PartitionSchema = strict({
  pkey: pkey.optional(),
  full: members.optional(),
  limited: members.optional(),
  ipoib: z.boolean().optional(),
  sl: sl.optional(),
}).nullable();
type Written = z.output<typeof PartitionSchema>;

const laneNumber = z.string().regex(/^[0-7]$/, `expected a virtual lane, 0 to ${VL_COUNT - 1}`);
const turns = z
  .record(laneNumber, whole("a weight", 0, WEIGHT_MAX))
  .transform((lanes) => Object.entries(lanes).map(([lane, weight]): [number, number] => [Number(lane), weight]));
const SERVICE = "expected a service ID such as 0x1000000000000, or two: [first, last]";
const service = z.union([z.bigint().transform((id): [bigint, bigint] => [id, id]), z.tuple([z.bigint(), z.bigint()])], {
  error: SERVICE,
});
const level = strict({ sl, service: service.optional(), class: whole("a QoS class", 0, 0xfff).optional() });

export const QosSchema = strict({
  vl: z.array(vl).min(1, "expected 1 to 16 virtual lanes").max(SL_COUNT, "expected 1 to 16 virtual lanes").optional(),
  high: turns.optional(),
  low: turns.optional(),
  "high-limit": whole("a limit", 0, WEIGHT_MAX).optional(),
  levels: z.array(level).max(64, "expected at most 64 levels").optional(),
});

/** A partition as it was written, its hosts' names not yet looked at. @returns undefined if it lacks a P_Key */
export function readPartition(name: string, written: Written): TopologyPartition | undefined {
  const isDefault = name === "default";
  const key = isDefault ? DEFAULT_PKEY : written?.pkey;
  if (key === undefined) return undefined;
  return {
    name,
    pkey: key,
    full: written?.full ?? [],
    limited: written?.limited ?? [],
    isIpoib: written?.ipoib ?? isDefault,
    sl: written?.sl ?? 0,
  };
}

export function readQos(written: z.output<typeof QosSchema>): TopologyQos {
  const lanes = written.vl ?? [0];
  return {
    slToVl: Array.from({ length: SL_COUNT }, (_, level) => lanes[level % lanes.length] ?? 0),
    high: (written.high ?? []).slice(0, MAX_TURNS),
    low: (written.low ?? []).slice(0, MAX_TURNS),
    highLimit: written["high-limit"] ?? 0,
    levels: (written.levels ?? []).map(({ sl: levelSl, service: serviceIds, class: qosClass }) => ({
      sl: levelSl,
      ...(serviceIds === undefined ? {} : { serviceIds }),
      ...(qosClass === undefined ? {} : { qosClass }),
    })),
  };
}

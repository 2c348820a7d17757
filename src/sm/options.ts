// What the subnet manager can be told, and what it does if nobody says anything.

import { NS_PER_MS, NS_PER_S } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import { Mtu } from "../spec/ib/numbers.ts";
import { DEFAULT_GID_PREFIX } from "../spec/mad/numbers.ts";
import type { PartitionOptions } from "./partitions.ts";
import type { RoutingName } from "./routing/names.ts";
import type { QosOptions } from "./service-levels.ts";

/** How packets find their way; the command line's `--routing` and `--lmc`. */
export interface RoutingOptions {
  /** Routing engine; min-hop by default. */
  readonly routing?: RoutingName;
  /** PortInfo.LMC of hosts' ports, 0 to 7: each has 2^LMC LIDs, with different ways to them where there are several. */
  readonly lmc?: number;
}

/** What the command line says of the manager: the above, and its `--sm-priority` and `--sm-yields`. */
export interface ChosenOptions extends RoutingOptions {
  /** SMInfo.Priority 0..15; an OpenSM with its default 0 stays standby. */
  readonly priority?: number;
  /**
   * Whether another manager of the subnet may become its master, if it has the higher priority. By default none can: managers may be guests, and
   * whoever is the master of a subnet can do anything to it.
   */
  readonly yields?: boolean;
}

export interface SubnetManagerOptions extends ChosenOptions {
  readonly random: Random;
  readonly log?: Log;
  /** SA requests that carry it may see and change what belongs to others; OpenSM's default is 1. */
  readonly smKey?: bigint;
  readonly gidPrefix?: bigint;
  /** Highest NeighborMTU given to a link. */
  readonly mtuCode?: number;
  /** PortInfo.SubnetTimeOut and the packet lifetime of paths: 4.096 µs × 2^value. */
  readonly subnetTimeout?: number;
  /** Time between light sweeps. */
  readonly sweepIntervalNs?: number;
  readonly smpTimeoutNs?: number;
  readonly smpTries?: number;
  readonly maxOutstanding?: number;
  /**
   * Whether a switch may be behind port `number` of the switch with node GUID `guid`; whatever else says it is one is lying, and is left
   * out. Hosts answer SMPs themselves, so where all ports may, a hostile guest can invent a subnet behind its own.
   */
  readonly maySwitchBeBehind?: (guid: bigint, number: number) => boolean;
  /** Partitions beside the default one; without any all ports are full members of that, and no P_Key table is written. */
  readonly partitions?: readonly PartitionOptions[];
  /**
   * M_Key of the ports of a node, by its GUID; 0n, as by default, protects nothing. With another one nobody else can change the subnet. Each node
   * should have its own: SMPs to a host carry it, and its guest sees them.
   */
  readonly mkeyOf?: (nodeGuid: bigint) => bigint;
  /** Virtual lanes and service levels; without it no SLtoVL or VLArbitration table is written. */
  readonly qos?: QosOptions | undefined;
  /** PortInfo.HOQLife of switches' ports, 4.096 µs × 2^value; left as it is without it. */
  readonly headOfQueueLife?: number | undefined;
  /** Name of the host behind port `number` of a switch, by which partitions have members; without an answer it is its NodeDescription. */
  readonly hostBehind?: (guid: bigint, number: number) => string | undefined;
}

export type Settings = Required<Omit<SubnetManagerOptions, "random" | "log" | "qos" | "headOfQueueLife">> &
  Pick<SubnetManagerOptions, "qos" | "headOfQueueLife">;

/** About one second: 4.096 µs × 2^18. */
const SUBNET_TIMEOUT = 18;

export const DEFAULT_SETTINGS: Settings = {
  priority: 5,
  yields: false,
  smKey: 1n,
  gidPrefix: DEFAULT_GID_PREFIX,
  mtuCode: Mtu.MTU_2048,
  subnetTimeout: SUBNET_TIMEOUT,
  sweepIntervalNs: 10 * NS_PER_S,
  // A port is in INIT before its driver has posted receives, so the first SMP is often lost: ask again soon, then less often
  // (20, 40, … 1280 ms).
  smpTimeoutNs: 20 * NS_PER_MS,
  smpTries: 7,
  maxOutstanding: 128,
  routing: "minhop",
  lmc: 0,
  maySwitchBeBehind: () => true,
  partitions: [],
  mkeyOf: () => 0n,
  hostBehind: () => undefined,
};

/** Bounds of what guests can make the subnet manager remember; each is counted when reached. */
export const SaLimits = {
  GROUPS: 1024,
  GROUPS_PER_PORT: 256,
  SERVICES: 4096,
  SERVICES_PER_PORT: 64,
  SUBSCRIPTIONS: 4096,
  SUBSCRIPTIONS_PER_PORT: 64,
  /** Reports to one subscriber that have not been answered. */
  REPORTS_PER_SUBSCRIPTION: 8,
  /** Records in one table response. */
  TABLE_BYTES: 1 << 24,
} as const;

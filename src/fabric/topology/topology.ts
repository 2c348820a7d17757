// A fabric on paper: switches, hosts, and the cables between their ports. Files are read into it (yaml.ts, netlist.ts), shapes make it
// (shapes.ts), `checkTopology` says whether it can be built, `buildTopology` builds it.

import { LinkSpeed, LinkSpeedExt, LinkWidth } from "../../spec/mad/numbers.ts";
import { EXTENDED_SPEED_SHIFT } from "../link.ts";

/** Lanes of a cable, and bit rates of a lane, as in `Cable`. The HCAs of VMs, MT25204, have 4X DDR at most. */
export const WIDTHS = {
  "1X": LinkWidth.W1X,
  "2X": LinkWidth.W2X,
  "4X": LinkWidth.W4X,
  "8X": LinkWidth.W8X,
  "12X": LinkWidth.W12X,
} as const;
export const SPEEDS = {
  SDR: LinkSpeed.SDR,
  DDR: LinkSpeed.DDR,
  QDR: LinkSpeed.QDR,
  FDR: LinkSpeedExt.FDR << EXTENDED_SPEED_SHIFT,
  EDR: LinkSpeedExt.EDR << EXTENDED_SPEED_SHIFT,
  HDR: LinkSpeedExt.HDR << EXTENDED_SPEED_SHIFT,
  NDR: LinkSpeedExt.NDR << EXTENDED_SPEED_SHIFT,
} as const;
export type WidthName = keyof typeof WIDTHS;
export type SpeedName = keyof typeof SPEEDS;

export interface TopologyNode {
  readonly kind: "switch" | "host";
  /** What commands and HCAs call it; unique. */
  readonly name: string;
  readonly portCount: number;
  /** Node GUID; given out where there is none. */
  readonly guid?: bigint;
  /** Port GUIDs by port number; node GUID + number where there is none. */
  readonly portGuids?: ReadonlyMap<number, bigint>;
  /** NodeDescription; the name where there is none. */
  readonly description?: string;
  /** What a netlist says of it; our own where it says nothing, and where an HCA takes its place. */
  readonly identity?: TopologyIdentity;
  /** Line of the file. */
  readonly line?: number;
  /** The file, where it is not the topology's own. */
  readonly source?: string;
}

/** Fields of NodeInfo and SwitchInfo that nothing depends on. */
export interface TopologyIdentity {
  readonly vendorId?: number;
  readonly deviceId?: number;
  readonly systemImageGuid?: bigint;
  /** Of a switch: port 0 has the abilities of a host's port. */
  readonly enhancedPort0?: boolean;
}

export interface LinkEnd {
  readonly node: string;
  readonly port: number;
}

export interface TopologyLink {
  readonly ends: readonly [LinkEnd, LinkEnd];
  /** At most so many lanes, and so fast; what both ports can where nothing is said. */
  readonly width?: WidthName;
  readonly speed?: SpeedName;
  /** Part of the packets that get lost on the way, 0 to 1. */
  readonly loss?: number;
  /** Part of the others that arrive with a wrong CRC. */
  readonly corruption?: number;
  /** Time that a packet takes, one way. */
  readonly delayNs?: number;
  readonly line?: number;
  /** The file, where it is not the topology's own. */
  readonly source?: string;
}

/** A partition for the built-in subnet manager (sm/partitions.ts). */
export interface TopologyPartition {
  readonly name: string;
  /** 1 to 0x7fff, without the membership bit. */
  readonly pkey: number;
  readonly full: readonly string[] | "all";
  readonly limited: readonly string[] | "all";
  readonly isIpoib: boolean;
  readonly sl: number;
}

/** Virtual lanes and service levels for the built-in subnet manager (sm/service-levels.ts). */
export interface TopologyQos {
  readonly slToVl: readonly number[];
  readonly high: readonly (readonly [vl: number, weight: number])[];
  readonly low: readonly (readonly [vl: number, weight: number])[];
  readonly highLimit: number;
  readonly levels: readonly {
    readonly sl: number;
    readonly serviceIds?: readonly [bigint, bigint];
    readonly qosClass?: number;
  }[];
}

/** Virtual lanes with credits (fabric/lanes). */
export interface TopologyLanes {
  /** Receive buffer of a port for each lane. */
  readonly bufferBytes?: number;
  /** PortInfo.HOQLife of switches' ports: 4.096 µs × 2^value, for ever above 19. */
  readonly headOfQueueLife?: number;
}

export interface Topology {
  /** Where it comes from: a file's name or a shape's. */
  readonly source: string;
  readonly nodes: readonly TopologyNode[];
  readonly links: readonly TopologyLink[];
  readonly partitions?: readonly TopologyPartition[];
  readonly qos?: TopologyQos;
  /** Data go hop by hop through virtual lanes, unless somebody asks for another data path. */
  readonly lanes?: TopologyLanes;
}

/** A topology that cannot be read or built: what is wrong, where, and how to mend it. */
export class TopologyError extends Error {
  readonly line: number | undefined;

  /** @param line of the file, where there is one */
  constructor(source: string, line: number | undefined, message: string) {
    super(`${source}${line === undefined ? "" : `:${line}`}: ${message}`);
    this.line = line;
  }
}

/** Nodes of a kind, in their order. */
export const nodesOf = (topology: Topology, kind: TopologyNode["kind"]): TopologyNode[] =>
  topology.nodes.filter((node) => node.kind === kind);

export const endText = ({ node, port }: LinkEnd): string => `${node}:${port}`;

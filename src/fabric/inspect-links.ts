// Links of the fabric as plain objects: both ends, what they have agreed on, what is wrong.

import type { Page } from "../base/inspect.ts";
import { guidText, nameOf } from "../base/names.ts";
import { PhysState, PortState } from "../spec/ib/numbers.ts";
import { PortInfo } from "../spec/mad/sm-attributes.ts";
import type { Fabric } from "./fabric.ts";
import { labelOf, portCountersObject, speedName, WIDTH_NAMES } from "./inspect.ts";
import { inspectLanes, type LaneView } from "./lanes/inspect.ts";
import type { Link } from "./link.ts";
import type { LinkCounts, LinkFaults } from "./link-faults.ts";
import type { Port } from "./port.ts";
import { Trunk } from "./trunk.ts";

export interface LinkEndView {
  /** Name of the node, as commands take it. */
  readonly node: string;
  readonly guid: string;
  readonly port: number;
  /** Of a switch that of its port 0; 0 for none. */
  readonly lid: number;
  readonly state: string;
  readonly physState: string;
  /** Counters that are not zero. */
  readonly counters: Record<string, number>;
  /** Virtual lanes where packets of data are; none unless data go through lanes. */
  readonly lanes: LaneView[];
}

export interface LinkView {
  readonly a: LinkEndView;
  readonly b: LinkEndView;
  /** `UP`, `DOWN` where it could not come up, `PULLED` where somebody has taken it down. */
  readonly state: "UP" | "DOWN" | "PULLED";
  /** Lanes and bit rate of a lane, such as `4X` and `DDR`; "" while the link is not up. */
  readonly width: string;
  readonly speed: string;
  /** Signalling rate in Gb/s; 0 while the link is not up. */
  readonly gbps: number;
  /** What is wrong with the cable. */
  readonly faults: LinkFaults | undefined;
  /** What it has done to packets. */
  readonly counts: LinkCounts;
}

const LANES: Readonly<Record<string, number>> = { "1X": 1, "2X": 2, "4X": 4, "8X": 8, "12X": 12 };
const GBPS_OF_A_LANE: Readonly<Record<string, number>> = {
  SDR: 2.5,
  DDR: 5,
  QDR: 10,
  FDR: 14.0625,
  EDR: 25.78125,
  HDR: 53.125,
  NDR: 106.25,
};

/** At most `limit` links from number `from`, in the order in which they were made; a cable to another engine is in no fabric whole. */
export function inspectLinks(fabric: Fabric, from: number, limit: number): Page<LinkView> {
  const next = from + limit;
  const items: LinkView[] = [];
  let count = 0;
  for (const link of fabric.links) {
    if (link.a.node instanceof Trunk || link.b.node instanceof Trunk) continue;
    if (count >= from && count < next) items.push(inspectLink(link));
    count++;
  }
  return { count, items, next: next < count ? next : undefined };
}

export function inspectLink(link: Link): LinkView {
  const { a, b } = link;
  const width = a.isLinkUp ? (WIDTH_NAMES[PortInfo.linkWidthActive.get(a.info, 0)] ?? "?") : "";
  const speed = a.isLinkUp ? speedName(a.info) : "";
  return {
    a: inspectEnd(a),
    b: inspectEnd(b),
    state: a.isLinkUp ? "UP" : link.isPlugged ? "DOWN" : "PULLED",
    width,
    speed,
    gbps: gbpsOf(width, speed),
    faults: link.faults,
    counts: { ...link.counts },
  };
}

/** Signalling rate of a link in Gb/s. */
export const gbpsOf = (width: string, speed: string): number => (LANES[width] ?? 0) * (GBPS_OF_A_LANE[speed] ?? 0);

export function inspectEnd(port: Port): LinkEndView {
  const { node } = port;
  return {
    node: labelOf(node),
    guid: guidText(node.guid),
    port: port.number,
    lid: node.switch === undefined ? port.lid : (node.ports[0]?.lid ?? 0),
    state: nameOf(PortState, port.state),
    physState: nameOf(PhysState, port.physState),
    counters: portCountersObject(port),
    lanes: port.lanes === undefined ? [] : inspectLanes(port.lanes, node.fabric.lanes?.bufferBlocks ?? 0),
  };
}

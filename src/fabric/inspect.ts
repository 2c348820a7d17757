// The fabric as plain objects, for printing and for the dashboard.

import { countersObject } from "../base/counters.ts";
import type { Page } from "../base/inspect.ts";
import { guidText, nameOf } from "../base/names.ts";
import { PhysState, PortState } from "../spec/ib/numbers.ts";
import { PortCounter, PortDetail, slDataObject, vlXmitWaitObject } from "../spec/ib/port-counters.ts";
import { NodeType } from "../spec/mad/numbers.ts";
import { PortInfo } from "../spec/mad/sm-attributes.ts";
import { CaNode } from "./ca-node.ts";
import type { Fabric, FabricCounts } from "./fabric.ts";
import { inspectAllLanes, type LanesView } from "./lanes/inspect.ts";
import type { FabricNode } from "./node.ts";
import type { Port } from "./port.ts";
import { Trunk } from "./trunk.ts";

export interface PortView {
  readonly number: number;
  readonly state: string;
  readonly physState: string;
  readonly lid: number;
  readonly smLid: number;
  /** Lanes × bit rate of the active link, as `4X DDR`. */
  readonly link: string;
  /** GUID, name and port of the other end. */
  readonly peer: { readonly node: string; readonly name: string; readonly port: number } | undefined;
  /** Counters that are not zero. */
  readonly counters: Record<string, number>;
}

export interface NodeView {
  readonly type: string;
  /** As commands call it: the topology's name, or that of the HCA. */
  readonly name: string;
  readonly guid: string;
  readonly description: string;
  /** A host without a VM (fabric/phantom-host.ts). */
  readonly isPhantom: boolean;
  /** Name of the HCA that is this host, if one is. */
  readonly hca: string | undefined;
  /** Ports that have a cable, a LID or are enabled. */
  readonly ports: PortView[];
}

export interface FabricView {
  /** The first nodes and links; all of them where `isCut` is false. */
  readonly nodes: NodeView[];
  readonly nodeCount: number;
  readonly linkCount: number;
  readonly linksUp: number;
  readonly isCut: boolean;
  readonly links: {
    readonly a: string;
    readonly aPort: number;
    readonly b: string;
    readonly bPort: number;
    readonly isUp: boolean;
  }[];
  readonly counts: FabricCounts;
  /** Undefined where data do not go through lanes. */
  readonly lanes: LanesView | undefined;
  readonly queued: number;
  readonly epoch: number;
}

/** Names of PortInfo.LinkWidthActive and LinkSpeedActive. */
export const WIDTH_NAMES: Readonly<Record<number, string>> = { 1: "1X", 2: "4X", 4: "8X", 8: "12X", 16: "2X" };
const SPEED_NAMES: Readonly<Record<number, string>> = { 1: "SDR", 2: "DDR", 4: "QDR" };
const EXTENDED_SPEED_NAMES: Readonly<Record<number, string>> = { 1: "FDR", 2: "EDR", 4: "HDR", 8: "NDR" };

/** The speed of a link that is up, by one end's PortInfo. */
export function speedName(info: DataView): string {
  const extended = EXTENDED_SPEED_NAMES[PortInfo.linkSpeedExtActive.get(info, 0)];
  const speed = PortInfo.linkSpeedActive.get(info, 0);
  return extended ?? SPEED_NAMES[speed] ?? String(speed);
}

/** Nodes, and links, of a view. */
export const VIEW_NODES_MAX = 128;
const VIEW_LINKS_MAX = 512;

/** What can be seen of the fabric in a moment: of a large one the beginning, and the counts. */
export function inspectFabric(fabric: Fabric): FabricView {
  const { items, count } = inspectNodes(fabric, 0, VIEW_NODES_MAX);
  // The far end of a cable to another engine is there.
  const links = [...fabric.links].filter(({ a, b }) => !(a.node instanceof Trunk || b.node instanceof Trunk));
  return {
    nodes: items,
    nodeCount: count,
    linkCount: links.length,
    linksUp: links.filter(({ a }) => a.isLinkUp).length,
    isCut: count > items.length || links.length > VIEW_LINKS_MAX,
    links: links.slice(0, VIEW_LINKS_MAX).map(({ a, b }) => ({
      a: guidText(a.node.guid),
      aPort: a.number,
      b: guidText(b.node.guid),
      bPort: b.number,
      isUp: a.isLinkUp,
    })),
    counts: { ...fabric.counts },
    lanes: fabric.lanes === undefined ? undefined : inspectAllLanes(fabric.lanes),
    queued: fabric.queued,
    epoch: fabric.epoch,
  };
}

/** At most `limit` nodes from number `from`, in the order in which they were added. */
export function inspectNodes(fabric: Fabric, from: number, limit: number): Page<NodeView> {
  const nodes = [...fabric.nodes].filter((node) => !(node instanceof Trunk));
  const next = from + limit;
  return {
    count: nodes.length,
    items: nodes.slice(from, next).map(inspectNode),
    next: next < nodes.length ? next : undefined,
  };
}

export function inspectNode(node: FabricNode): NodeView {
  const ports = node.ports.filter((port) => port !== undefined && (port.link !== undefined || port.isEndPort));
  return {
    type: nameOf(NodeType, node.type),
    name: labelOf(node),
    guid: guidText(node.guid),
    description: node.name,
    isPhantom: node instanceof CaNode && node.isPhantom,
    hca: node instanceof CaNode ? node.hca : undefined,
    ports: ports.flatMap((port) => (port === undefined ? [] : [inspectPort(port)])),
  };
}

/** What a node is called; its description where nobody has named it. */
export const labelOf = (node: FabricNode): string => (node.label === "" ? node.name : node.label);

/** What a port has counted and is not zero: the numbers that its PMA gives. */
export function portCountersObject(port: Port): Record<string, number> {
  port.node.fabric.settleTraffic();
  port.node.fabric.lanes?.countWaits([port]);
  return {
    ...countersObject(PortCounter, port.counters, false),
    ...(port.hasDetails ? countersObject(PortDetail, port.details, false) : {}),
    ...(port.hasSlData ? slDataObject(port.slData) : {}),
    ...(port.hasVlXmitWait ? vlXmitWaitObject(port.vlXmitWait) : {}),
  };
}

function inspectPort(port: Port): PortView {
  const width = PortInfo.linkWidthActive.get(port.info, 0);
  const { peer } = port;
  return {
    number: port.number,
    state: nameOf(PortState, port.state),
    physState: nameOf(PhysState, port.physState),
    lid: port.lid,
    smLid: port.smLid,
    link: port.isLinkUp ? `${WIDTH_NAMES[width] ?? width} ${speedName(port.info)}` : "",
    peer: peer === undefined ? undefined : { node: guidText(peer.node.guid), name: labelOf(peer.node), port: peer.number },
    counters: portCountersObject(port),
  };
}

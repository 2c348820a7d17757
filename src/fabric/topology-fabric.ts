// A fabric of any topology. Its hosts are phantoms until an HCA takes the place of one: the same GUIDs, the same cables, another node.

import type { Random } from "../base/random.ts";
import type { EndpointFactory } from "../mad/endpoint.ts";
import { PortCounter } from "../spec/ib/port-counters.ts";
import type { AddedNode } from "./added-node.ts";
import type { CaNode } from "./ca-node.ts";
import type { CaPort } from "./ca-port.ts";
import { type AddCaOptions, DomainFabric } from "./domain-fabric.ts";
import type { Link } from "./link.ts";
import type { FabricNode } from "./node.ts";
import type { Port } from "./port.ts";
import type { SwitchNode } from "./switch-node.ts";
import { addPhantom, addSwitch, buildTopology } from "./topology/build.ts";
import { checkHasSwitch } from "./topology/check.ts";
import type { GuidPool } from "./topology/guids.ts";
import type { Topology, TopologyNode } from "./topology/topology.ts";

export interface TopologyFabricOptions {
  readonly topology: Topology;
  /** Makes the subnet manager behind port 0 of the first switch; without it the fabric waits for one on an HCA. */
  readonly subnetManager?: ((fabric: DomainFabric) => EndpointFactory) | undefined;
  readonly random: Random;
}

/** A cable of a host, while no cable is there: where it leads, and what it is like. */
interface Plug extends Pick<Link, "cable" | "faults" | "isPlugged"> {
  /** The host's port. */
  readonly number: number;
  readonly peer: Port;
  /** LinkDownedCounter of the port where it leads. */
  readonly downed: number;
}

/** A host of the topology, and what stands in its place now. */
interface Place {
  readonly host: TopologyNode;
  readonly guid: bigint;
  ca: CaNode;
  /** Name of the HCA that is this host, if one is. */
  hca: string | undefined;
  /** The host's port whose cable the HCA has, and the cables of the others. */
  hcaPort: number;
  spare: readonly Plug[];
}

export class TopologyFabric extends DomainFabric {
  readonly switches: ReadonlyMap<string, SwitchNode>;
  readonly #guids: GuidPool;
  readonly #places = new Map<string, Place>();

  /** @throws TopologyError if it cannot be built, or has no switch for the subnet manager */
  constructor({ topology, subnetManager, random }: TopologyFabricOptions) {
    super(random);
    const { switches, hosts, guids } = buildTopology(this.fabric, topology);
    this.switches = switches;
    this.#guids = guids;
    for (const host of topology.nodes) {
      const ca = hosts.get(host.name);
      if (ca !== undefined) this.#addPlace(host, ca);
    }
    const [first] = switches.values();
    if (subnetManager !== undefined) checkHasSwitch(topology);
    if (subnetManager !== undefined && first !== undefined) this.startManager(first, subnetManager(this));
  }

  /**
   * An HCA takes the place of the host of its name, or else of the first phantom. Of a host with two ports it has the first that has a cable.
   * @throws if there is no phantom left, or the GUID is taken
   */
  addCa({ name = "", ...options }: AddCaOptions): CaPort {
    const place = this.#findPlace(name);
    if (options.nodeGuid !== undefined && options.nodeGuid !== place.guid) this.assertGuidIsFree(options.nodeGuid);
    const [plug, ...spare] = plugsOf(place.ca);
    place.hcaPort = plug?.number ?? 1;
    place.spare = spare;
    this.fabric.removeNode(place.ca);
    place.ca = this.fabric.addCa({
      ...options,
      nodeGuid: options.nodeGuid ?? place.guid,
      portGuids: portGuidsOf(place, options),
    });
    this.fabric.nameNode(place.ca, place.host.name);
    place.hca = name;
    place.ca.hca = name;
    const port = place.ca.ports[1];
    if (port === undefined) throw new Error("invariant: a CA has a port 1");
    if (plug !== undefined) this.#plugIn(port, plug);
    // A host that has become another one is no error of its cable.
    if (plug !== undefined) plug.peer.counters[PortCounter.linkDowned] = plug.downed;
    return port;
  }

  /** The HCA's host is a phantom again. */
  removeCa(port: CaPort): void {
    const place = [...this.#places.values()].find(({ ca }) => ca === port.node);
    if (place === undefined) return;
    const plugs = [...plugsOf(place.ca).map((plug) => ({ ...plug, number: place.hcaPort })), ...place.spare];
    this.fabric.removeNode(place.ca);
    place.hca = undefined;
    place.spare = [];
    place.ca = addPhantom(this.fabric, place.host, place.guid);
    for (const plug of plugs) {
      const own = place.ca.ports[plug.number];
      if (own !== undefined) this.#plugIn(own, plug);
    }
  }

  addNode(node: AddedNode): SwitchNode | CaNode {
    const guid = node.guid ?? this.#freeGuid(node.kind);
    if (node.kind === "switch") return addSwitch(this.fabric, node, guid);
    const ca = addPhantom(this.fabric, node, guid);
    this.#addPlace(node, ca);
    return ca;
  }

  override dropNode(node: FabricNode): void {
    super.dropNode(node);
    this.#places.delete(node.label);
  }

  #addPlace(host: TopologyNode, ca: CaNode): void {
    this.#places.set(host.name, { host, guid: ca.guid, ca, hca: undefined, hcaPort: 1, spare: [] });
  }

  #freeGuid(kind: TopologyNode["kind"]): bigint {
    for (;;) {
      const guid = this.#guids.take(kind);
      // An HCA may have been given one of its own.
      if (this.fabric.findNode(guid) === undefined) return guid;
    }
  }

  #findPlace(name: string): Place {
    const named = this.#places.get(name);
    if (named !== undefined && named.hca === undefined) return named;
    for (const place of this.#places.values()) if (place.hca === undefined) return place;
    const { size } = this.#places;
    throw new Error(
      `there is no host left for HCA ${name}: ${size === 0 ? "the topology has none" : `HCAs have taken all ${size} of the topology`}; use a larger one`,
    );
  }

  /** The cable as it was, with what is wrong with it. */
  #plugIn(port: Port, { peer, cable, faults, isPlugged }: Plug): void {
    if (peer.link !== undefined || this.fabric.findNode(peer.node.guid) !== peer.node) return;
    this.fabric.setFaults(this.fabric.connect(port, peer, cable, isPlugged), faults);
  }
}

const plugsOf = (ca: CaNode): Plug[] =>
  ca.ports.flatMap((port) => {
    if (port?.link === undefined) return [];
    const { cable, faults, isPlugged } = port.link;
    const peer = port.link.other(port);
    return [{ number: port.number, peer, downed: peer.counters[PortCounter.linkDowned] ?? 0, cable, faults, isPlugged }];
  });

/** GUID of the port that an HCA has of its host; not kept with a node GUID of its own. */
function portGuidsOf({ host, hcaPort }: Place, { nodeGuid }: AddCaOptions): ReadonlyMap<number, bigint> | undefined {
  const guid = host.portGuids?.get(hcaPort);
  return guid === undefined || nodeGuid !== undefined ? undefined : new Map([[1, guid]]);
}

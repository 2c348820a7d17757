// A switch: forwards by its tables, executes SMPs, passes directed routes on, and has an end port 0 behind which an agent
// (a subnet manager) may live. IBA vol 1, 18.2.4 (relaying), 14.2.2 (directed routes), 14.2.5.1 (trap 128).

import { NS_PER_MS } from "../base/clock.ts";
import { isForGeneralAgent, processGeneral } from "../mad/agents/general.ts";
import { isForSma, processSmp } from "../mad/agents/sma.ts";
import { type PortInfoValues, PortKind, portBytes, type SwitchAttributes } from "../mad/attributes.ts";
import type { EndpointFactory, ManagementEndpoint, ManagementPort } from "../mad/endpoint.ts";
import { LinearForwardingTable, MulticastForwardingTable } from "../mad/forwarding-tables.ts";
import { copyMad, isSmpClass, Verdict } from "../mad/mad.ts";
import { isPlainSmp, type MadPacket, madOf, PLAIN_MAD_AT, parseMadPacket, SMP_VL, turnRound, viewOf } from "../mad/packet.ts";
import { routeSmp, SmiRoute } from "../mad/smi.ts";
import { Lrh } from "../spec/ib/headers.ts";
import { isMulticastLid, isUnicastLid, Lid, Mtu, PhysState, PortState, Qpn } from "../spec/ib/numbers.ts";
import { PortCounter } from "../spec/ib/port-counters.ts";
import { MadHeader, Smp } from "../spec/mad/headers.ts";
import { LinkSpeed, LinkWidth, MFT_POSITION_PORTS, MgmtClass, NodeType, PortCapability } from "../spec/mad/numbers.ts";
import { SwitchInfo } from "../spec/mad/sm-attributes.ts";
import type { Fabric } from "./fabric.ts";
import { MAX_HOPS, MAX_NODE_PORTS } from "./limits.ts";
import { FabricNode } from "./node.ts";
import { mayEnter, mayLeave } from "./partition-enforcement.ts";
import { Port } from "./port.ts";
import { count, countMalformed, countRelayError } from "./port-counts.ts";
import type { PacketDelivery } from "./queue.ts";
import { outputPort } from "./trace.ts";
import { TrapSender } from "./trap-sender.ts";

export interface SwitchOptions {
  readonly guid: bigint;
  readonly description: string;
  readonly portCount: number;
  readonly deviceId?: number;
  readonly vendorId?: number;
  /** Default: the GUID. */
  readonly systemImageGuid?: bigint;
  /** Default true. */
  readonly enhancedPort0?: boolean;
}

const DEVICE_ID = 0x7668; // "vh"
const VENDOR_ID = 0x001405; // the OUI of OpenIB
const REVISION = 1;
const LINEAR_CAPACITY = Lid.UNICAST_LAST + 1;
const MULTICAST_CAPACITY = 1024;
const BASE_PORT_PKEYS = 32;
/** P_Keys that a port of a switch can enforce. */
const EXTERNAL_PORT_PKEYS = 32;
const VLS_0_TO_7 = 4;
const VL_ARB_ENTRIES = 8;
/** A second for the first packet of a queue, as OpenSM sets it; no subnet manager need say so. */
const HEAD_OF_QUEUE_LIFE = 18;
const RESPONSE_TIME = 0x10;
const ERROR_THRESHOLD = 8;
const TRAP_REPEAT_NS = 500 * NS_PER_MS;

const BASE_PORT: PortInfoValues = {
  capabilityMask: PortCapability.TRAP | PortCapability.SL_MAP | PortCapability.SYSTEM_IMAGE_GUID,
  portState: PortState.ACTIVE,
  physState: PhysState.LINK_UP,
  linkDownDefault: PhysState.POLLING,
  linkWidthEnabled: LinkWidth.W1X | LinkWidth.W4X,
  linkWidthSupported: LinkWidth.W1X | LinkWidth.W4X,
  linkWidthActive: LinkWidth.W4X,
  linkSpeedSupported: LinkSpeed.SDR | LinkSpeed.DDR,
  linkSpeedEnabled: LinkSpeed.SDR | LinkSpeed.DDR,
  linkSpeedActive: LinkSpeed.DDR,
  neighborMtu: Mtu.MTU_2048,
  mtuCap: Mtu.MTU_4096,
  vlCap: 1,
  operationalVls: 1,
  responseTime: RESPONSE_TIME,
};

const EXTERNAL_PORT: PortInfoValues = {
  ...BASE_PORT,
  capabilityMask: 0,
  portState: PortState.DOWN,
  physState: PhysState.POLLING,
  vlCap: VLS_0_TO_7,
  operationalVls: VLS_0_TO_7,
  hoqLife: HEAD_OF_QUEUE_LIFE,
  vlArbHighCap: VL_ARB_ENTRIES,
  vlArbLowCap: VL_ARB_ENTRIES,
  localPhyErrors: ERROR_THRESHOLD,
  overrunErrors: ERROR_THRESHOLD,
};

export class SwitchNode extends FabricNode implements ManagementPort {
  readonly type = NodeType.SWITCH;
  readonly ports: readonly Port[];
  override readonly switch: SwitchAttributes;
  readonly port0: Port;
  readonly isSwitch = true;
  readonly portCount: number;
  readonly #traps: TrapSender;
  #endpoint: ManagementEndpoint | undefined = undefined;

  constructor(fabric: Fabric, options: SwitchOptions) {
    if (options.portCount < 1 || options.portCount > MAX_NODE_PORTS) {
      throw new Error(`switch ${options.description}: expected 1 to ${MAX_NODE_PORTS} ports, got ${options.portCount}`);
    }
    super(fabric, {
      guid: options.guid,
      systemImageGuid: options.systemImageGuid ?? options.guid,
      deviceId: options.deviceId ?? DEVICE_ID,
      vendorId: options.vendorId ?? VENDOR_ID,
      revision: REVISION,
      partitionCap: BASE_PORT_PKEYS,
      description: options.description,
    });
    this.portCount = options.portCount;
    const base = { number: 0, kind: PortKind.SWITCH_BASE, guid: options.guid, pkeyCount: BASE_PORT_PKEYS, guidCount: 1 };
    const baseBytes = portBytes(base.pkeyCount, base.guidCount);
    const externalBytes = portBytes(EXTERNAL_PORT_PKEYS, 0);
    // all ports in one piece
    const doubles = new Float64Array((baseBytes + options.portCount * externalBytes) / Float64Array.BYTES_PER_ELEMENT);
    const { buffer } = doubles;
    this.port0 = new Port(this, { ...base, powerUp: BASE_PORT, memory: { buffer, offset: 0, doubles } }, true);
    const ports = new Array<Port>(options.portCount + 1);
    ports[0] = this.port0;
    for (let number = 1; number <= options.portCount; number++) {
      const external = { number, kind: PortKind.SWITCH_EXTERNAL, guid: 0n, pkeyCount: EXTERNAL_PORT_PKEYS, guidCount: 0 };
      const memory = { buffer, offset: baseBytes + (number - 1) * externalBytes, doubles };
      const port = new Port(this, { ...external, powerUp: EXTERNAL_PORT, memory }, true);
      port.adapts = true;
      ports[number] = port;
    }
    this.ports = ports;
    this.switch = {
      info: switchInfo(options.enhancedPort0 ?? true),
      linear: new LinearForwardingTable(LINEAR_CAPACITY),
      multicast: new MulticastForwardingTable(MULTICAST_CAPACITY, options.portCount),
    };
    this.#traps = new TrapSender(this, TRAP_REPEAT_NS);
  }

  /** Puts an agent behind port 0. */
  attachEndpoint(factory: EndpointFactory): ManagementEndpoint {
    this.#endpoint = factory(this);
    this.fabric.watch(this);
    return this.#endpoint;
  }

  /** Puts an agent that is made already there, or none. */
  replaceEndpoint(endpoint: ManagementEndpoint | undefined): void {
    this.#endpoint = endpoint;
    if (endpoint !== undefined) this.fabric.watch(this);
  }

  get endpoint(): ManagementEndpoint | undefined {
    return this.#endpoint;
  }

  get lid(): number {
    return this.port0.lid;
  }

  send(packet: Uint8Array): void {
    this.fabric.enqueueLocal(this.port0, packet, isVl15(packet));
  }

  setIsSm(isSm: boolean): void {
    this.port0.isSm = isSm;
  }

  // --- link changes and traps

  linkChanged(_port: Port, _isUp: boolean): void {
    this.fabric.bumpEpoch();
    SwitchInfo.portStateChange.set(this.switch.info, 0, 1);
    this.#traps.linkChanged(this.fabric.nowNs);
    this.fabric.watch(this);
  }

  protected stateSet(_port: Port): void {}

  override trapRepressed(tidHi: number, tidLo: number): void {
    this.#traps.repressed(tidHi, tidLo, this.fabric.nowNs);
  }

  /** Lets the agent behind port 0 work, and repeats a trap nobody has repressed. */
  step(nowNs: number): void {
    this.#endpoint?.step(nowNs);
    this.#traps.step(nowNs);
  }

  nextDeadlineNs(): number {
    return Math.min(this.#traps.nextDeadlineNs(), this.#endpoint?.nextDeadlineNs() ?? Number.POSITIVE_INFINITY);
  }

  // --- packets

  receive(delivery: PacketDelivery): void {
    const { packet, port, view } = delivery;
    if (!delivery.isVl15 && !delivery.isLocal && !mayEnter(port, view)) {
      count(port, PortCounter.rcvConstraintErrors);
      return;
    }
    const dlid = Lrh.dlid.get(view, 0);
    // Nearly all of a subnet manager's: its own LID need not be looked up for them.
    if (dlid === Lid.PERMISSIVE && delivery.isVl15) this.#receiveForPort0(packet, delivery, port.number);
    else if (this.port0.ownsLid(dlid)) this.#receiveForPort0(packet, delivery, 0);
    else if (isUnicastLid(dlid)) this.#forward(delivery, dlid, port);
    else if (isMulticastLid(dlid) && !delivery.isVl15) this.#replicate(delivery, dlid);
    else countRelayError(port, false);
  }

  /** @param ingress port it came by; nothing goes back there (18.2.4, a loop) */
  #forward(delivery: PacketDelivery, dlid: number, ingress: Port): void {
    const out = outputPort(this.switch, dlid);
    const egress = this.ports[out];
    const isLoop = egress === ingress || delivery.hops >= MAX_HOPS;
    if (out === 0 || egress === undefined || isLoop) {
      countRelayError(ingress, isLoop);
      return;
    }
    if (!this.#letsOut(egress, delivery)) return;
    this.fabric.transmitFrom(egress, delivery.packet, delivery.hops + 1, undefined, delivery.view);
  }

  #letsOut(egress: Port, { view, isVl15: isManagement }: PacketDelivery): boolean {
    if (isManagement || mayLeave(egress, view)) return true;
    count(egress, PortCounter.xmitConstraintErrors);
    return false;
  }

  /** A copy to every port of the table's mask but the one it came by; a switch handles the same packet only once. */
  #replicate(delivery: PacketDelivery, dlid: number): void {
    const visited = delivery.visited ?? new Set<FabricNode>();
    if (visited.has(this) || visited.size >= MAX_HOPS) {
      countRelayError(delivery.port, true);
      return;
    }
    visited.add(this);
    const { multicast } = this.switch;
    for (let position = 0; position < multicast.positions; position++) {
      let mask = multicast.maskOf(dlid, position);
      while (mask !== 0) {
        const number = position * MFT_POSITION_PORTS + (31 - Math.clz32(mask & -mask));
        mask &= mask - 1;
        const egress = this.ports[number];
        if (egress === undefined || egress === delivery.port) continue;
        if (number === 0) this.#receiveForPort0(delivery.packet, delivery, 0);
        else if (this.#letsOut(egress, delivery)) {
          this.fabric.transmitFrom(egress, delivery.packet, delivery.hops + 1, visited, delivery.view);
        }
      }
    }
  }

  // --- port 0

  /** @param ingress port a directed route came in by; 0 if the packet came LID-routed, or from here. */
  #receiveForPort0(bytes: Uint8Array, delivery: PacketDelivery, ingress: number): void {
    if (delivery.isVl15 && this.#passDirected(bytes, delivery, ingress)) return;
    const packet = parseMadPacket(bytes, delivery.view);
    if (packet === undefined) {
      countMalformed(delivery.port);
      return;
    }
    const mgmtClass = MadHeader.mgmtClass.get(packet.view, packet.madAt);
    const isSmp = packet.destQp === Qpn.SMI;
    if (isSmp !== isSmpClass(mgmtClass) || isSmp !== delivery.isVl15) countMalformed(delivery.port);
    else if (mgmtClass === MgmtClass.SUBN_DIRECTED_ROUTE) this.#routeDirected(packet, delivery, ingress);
    else this.#executeOrHandOn(packet, delivery.port.number);
  }

  /** Passes a directed route on without reading more than that needs: most SMPs are on their way through. False: it is another packet. */
  #passDirected(bytes: Uint8Array, delivery: PacketDelivery, ingress: number): boolean {
    const { view } = delivery;
    if (!isPlainSmp(view) || MadHeader.mgmtClass.get(view, PLAIN_MAD_AT) !== MgmtClass.SUBN_DIRECTED_ROUTE) return false;
    const route = routeSmp(this, view, PLAIN_MAD_AT, ingress);
    if (route >= 0) {
      this.#leaveBy(route, bytes, delivery);
      return true;
    }
    const packet = parseMadPacket(bytes, view);
    if (packet !== undefined) this.#endDirected(packet, delivery, route);
    return true;
  }

  #routeDirected(packet: MadPacket, delivery: PacketDelivery, ingress: number): void {
    const route = routeSmp(this, packet.view, packet.madAt, ingress);
    if (route >= 0) this.#leaveBy(route, packet.bytes, delivery);
    else this.#endDirected(packet, delivery, route);
  }

  #leaveBy(number: number, bytes: Uint8Array, delivery: PacketDelivery): void {
    if (delivery.hops >= MAX_HOPS) {
      this.fabric.counts.badDirectedRoutes++;
      return;
    }
    const { view } = delivery;
    Lrh.dlid.set(view, 0, Lid.PERMISSIVE);
    Lrh.slid.set(view, 0, Lid.PERMISSIVE);
    const egress = this.ports[number];
    if (egress !== undefined) this.fabric.transmitFrom(egress, bytes, delivery.hops + 1, undefined, view);
  }

  /** @param route what `routeSmp` said: no port */
  #endDirected(packet: MadPacket, delivery: PacketDelivery, route: number): void {
    if (route === SmiRoute.AGENT) this.#executeOrHandOn(packet, delivery.port.number);
    else if (route === SmiRoute.MANAGER) this.#handOn(packet);
    else if (route === SmiRoute.LID_ROUTED) this.#leaveDirectedRoute(packet, delivery);
    else this.fabric.counts.badDirectedRoutes++;
  }

  /** The directed part of the route ends at this switch; the rest goes by LID, from this switch's LID (14.2.2). */
  #leaveDirectedRoute(packet: MadPacket, delivery: PacketDelivery): void {
    const { view, madAt } = packet;
    const isReturning = Smp.direction.get(view, madAt) === 1;
    const lid = (isReturning ? Smp.drSlid : Smp.drDlid).get(view, madAt);
    if (!isUnicastLid(lid)) {
      this.fabric.counts.badDirectedRoutes++;
      return;
    }
    Lrh.dlid.set(view, 0, lid);
    Lrh.slid.set(view, 0, this.lid);
    if (this.port0.ownsLid(lid)) this.#executeOrHandOn(packet, delivery.port.number);
    // from here on it is a packet of port 0: by LID it may go back to where the directed route came from
    else this.#forward(delivery, lid, this.port0);
  }

  /** The switch's own agents answer what is theirs; the rest is for the endpoint. */
  #executeOrHandOn(packet: MadPacket, port: number): void {
    // executed in the packet itself, which is this switch's own, unless it is one of the copies of a multicast
    const mad = isMulticastLid(packet.dlid) ? copyMad(packet.bytes, packet.madAt) : madOf(packet);
    const isSmp = packet.destQp === Qpn.SMI;
    if (isSmp ? !isForSma(mad) : !isForGeneralAgent(mad)) {
      this.#handOn(packet);
      return;
    }
    const context = { port, ignoreMkey: false, nowNs: this.fabric.nowNs };
    this.fabric.settleTraffic();
    if (!isSmp) this.fabric.lanes?.countWaits(this.ports);
    const verdict = isSmp ? processSmp(this, mad, context) : processGeneral(this, mad, this.fabric.nowNs);
    if (verdict !== Verdict.REPLY) return;
    if (MadHeader.mgmtClass.get(mad, 0) === MgmtClass.SUBN_DIRECTED_ROUTE) Smp.direction.set(mad, 0, 1);
    const answer = turnRound(packet, this.port0, mad);
    this.fabric.enqueueLocal(this.port0, answer, isVl15(answer), answer === packet.bytes ? packet.view : viewOf(answer));
  }

  #handOn(packet: MadPacket): void {
    if (this.#endpoint === undefined) this.fabric.counts.unclaimed++;
    else this.#endpoint.receive(packet.bytes, this.fabric.nowNs);
  }
}

function isVl15(packet: Uint8Array): boolean {
  return packet.length > 0 && (packet[0] ?? 0) >> 4 === SMP_VL;
}

function switchInfo(isEnhanced: boolean): DataView {
  const info = new DataView(new ArrayBuffer(SwitchInfo.byteLength));
  SwitchInfo.linearFdbCap.set(info, 0, LINEAR_CAPACITY);
  SwitchInfo.multicastFdbCap.set(info, 0, MULTICAST_CAPACITY);
  SwitchInfo.enhancedPort0.set(info, 0, isEnhanced ? 1 : 0);
  SwitchInfo.optimizedSlToVl.set(info, 0, 1);
  SwitchInfo.partitionEnforcementCap.set(info, 0, EXTERNAL_PORT_PKEYS);
  SwitchInfo.inboundEnforcementCap.set(info, 0, 1);
  SwitchInfo.outboundEnforcementCap.set(info, 0, 1);
  return info;
}

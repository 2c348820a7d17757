// A port of the fabric as a program on that host has it through umad: it sends MADs as that port and gets what the port's own agents do not
// execute. Hosts without a VM have one, and port 0 of a switch, there beside the subnet manager if that lives behind it.

import type { CaPort } from "../fabric/ca-port.ts";
import { PhantomHost } from "../fabric/phantom-host.ts";
import type { Port } from "../fabric/port.ts";
import type { SwitchNode } from "../fabric/switch-node.ts";
import type { ManagementEndpoint } from "../mad/endpoint.ts";
import { isSmpClass } from "../mad/mad.ts";
import { buildMadPacket, DIRECTED_ROUTE, gmpAddress, type MadPacket, parseMadPacket, smpAddress, viewOf } from "../mad/packet.ts";
import { routeSmp, type SmiNode, SmiRoute } from "../mad/smi.ts";
import { DEFAULT_PKEY, Lid, Qpn } from "../spec/ib/numbers.ts";
import { MadHeader, Smp } from "../spec/mad/headers.ts";
import { MAD_BYTES, MgmtClass } from "../spec/mad/numbers.ts";

/** Takes a MAD that came for the port; false: it is for somebody else there. Valid during the call only. */
export type MadReceiver = (packet: MadPacket) => boolean;

export interface UmadPort {
  readonly port: Port;
  /** Sends `mad`, 256 bytes, to the special queue pair of its class at `dlid`. */
  send(dlid: number, destQp: number, mad: DataView): void;
  /** Says in PortInfo whether a subnet manager is here. */
  setIsSm(isSm: boolean): void;
  /** Gives the port back. */
  release(): void;
}

const isDirected = (mad: DataView): boolean => MadHeader.mgmtClass.get(mad, 0) === MgmtClass.SUBN_DIRECTED_ROUTE;

function packetOf(port: Port, dlid: number, destQp: number, mad: DataView): Uint8Array {
  if (dlid === Lid.PERMISSIVE) return buildMadPacket(DIRECTED_ROUTE, mad);
  const isSmp = isSmpClass(MadHeader.mgmtClass.get(mad, 0));
  if (isSmp) return buildMadPacket(smpAddress(port.lid, dlid), mad);
  return buildMadPacket(
    { ...gmpAddress(port.lid, dlid), pkey: port.pkeys[0] ?? DEFAULT_PKEY, destQp: destQp === Qpn.SMI ? Qpn.GSI : destQp },
    mad,
  );
}

/** The host of `port`, which has no VM. */
export class HostUmadPort extends PhantomHost implements UmadPort {
  readonly #receiver: MadReceiver;
  /** What the port's agents answer now is for this host itself. */
  #isOwn = false;

  constructor(port: CaPort, receiver: MadReceiver) {
    super(port);
    this.#receiver = receiver;
  }

  send(dlid: number, destQp: number, mad: DataView): void {
    const packet = packetOf(this.port, dlid, destQp, mad);
    const view = viewOf(packet);
    // With a LID to go to first, the directed route begins there.
    if (!isDirected(mad) || dlid !== Lid.PERMISSIVE) {
      this.port.transmitOwn(packet, view);
      return;
    }
    // A directed route begins in the host's own software (IBA vol 1, 14.2.2).
    const madAt = packet.length - MAD_BYTES;
    const hopPointer = Smp.hopPointer.get(view, madAt);
    const route = routeSmp(this.#smi, view, madAt, 0);
    if (route === this.port.number) this.port.transmitOwn(packet, view);
    else if (route === SmiRoute.AGENT && hopPointer === 0) this.#executeHere(mad);
  }

  setIsSm(isSm: boolean): void {
    this.port.isSm = isSm;
  }

  release(): void {
    if (this.port.node.fabric.findNode(this.port.node.guid) === this.port.node) new PhantomHost(this.port);
  }

  protected override handOn(packet: MadPacket): void {
    if (!this.#receiver(packet)) this.port.node.fabric.counts.unclaimed++;
  }

  protected override answer(packet: Uint8Array, view: DataView): void {
    if (!this.#isOwn) {
      super.answer(packet, view);
      return;
    }
    const parsed = parseMadPacket(packet, view);
    if (parsed !== undefined) this.handOn(parsed);
  }

  get #smi(): SmiNode {
    return { isSwitch: false, portCount: this.port.node.ports.length - 1 };
  }

  /** A directed route without a hop. */
  #executeHere(mad: DataView): void {
    this.#isOwn = true;
    try {
      this.receive(buildMadPacket(DIRECTED_ROUTE, mad));
    } finally {
      this.#isOwn = false;
    }
  }
}

/** Port 0 of a switch. */
export class SwitchUmadPort implements UmadPort, ManagementEndpoint {
  readonly port: Port;
  readonly #switch: SwitchNode;
  readonly #receiver: MadReceiver;
  /** The subnet manager, if one lives here. */
  readonly #other: ManagementEndpoint | undefined;
  readonly #wasSm: boolean;

  constructor(node: SwitchNode, receiver: MadReceiver) {
    this.port = node.port0;
    this.#switch = node;
    this.#receiver = receiver;
    this.#other = node.endpoint;
    this.#wasSm = node.port0.isSm;
    node.attachEndpoint(() => this);
  }

  send(dlid: number, destQp: number, mad: DataView): void {
    this.#switch.send(packetOf(this.port, dlid, destQp, mad));
  }

  setIsSm(isSm: boolean): void {
    this.port.isSm = isSm || this.#wasSm;
  }

  release(): void {
    this.#switch.replaceEndpoint(this.#other);
  }

  receive(bytes: Uint8Array, nowNs: number): void {
    const packet = parseMadPacket(bytes);
    if (packet !== undefined && this.#receiver(packet)) return;
    if (this.#other !== undefined) this.#other.receive(bytes, nowNs);
    else this.port.node.fabric.counts.unclaimed++;
  }

  step(nowNs: number): void {
    this.#other?.step(nowNs);
  }

  nextDeadlineNs(): number {
    return this.#other?.nextDeadlineNs() ?? Number.POSITIVE_INFINITY;
  }
}

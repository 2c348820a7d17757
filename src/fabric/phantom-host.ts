// A host without a VM: its port is up at once, and what arrives there its own agents answer, as the driver and the kernel's MAD layer of a
// guest would have it: QP0 goes through the SMI rules to the port's SMA (MAD_IFC), the performance class on QP1 to its PMA. There may be
// thousands, so one holds nothing but its port.

import { isForGeneralAgent } from "../mad/agents/general.ts";
import { isForSma } from "../mad/agents/sma.ts";
import { bytesOf, copyMad, isSmpClass } from "../mad/mad.ts";
import { type MadPacket, madOf, parseMadPacket, turnRound, viewOf } from "../mad/packet.ts";
import { routeSmp, type SmiNode, SmiRoute } from "../mad/smi.ts";
import { isMulticastLid, Qpn } from "../spec/ib/numbers.ts";
import { MadHeader, Smp } from "../spec/mad/headers.ts";
import { MgmtClass } from "../spec/mad/numbers.ts";
import type { CaClient, CaPort } from "./ca-port.ts";

export class PhantomHost implements CaClient {
  readonly port: CaPort;

  constructor(port: CaPort) {
    this.port = port;
    port.attach(this);
  }

  receive(packet: Uint8Array, view: DataView = viewOf(packet)): void {
    const parsed = parseMadPacket(packet, view);
    if (parsed === undefined) return;
    const isSmp = parsed.destQp === Qpn.SMI;
    const mgmtClass = MadHeader.mgmtClass.get(parsed.view, parsed.madAt);
    if (isSmp !== isSmpClass(mgmtClass)) return;
    if (mgmtClass === MgmtClass.SUBN_DIRECTED_ROUTE) this.#receiveDirected(parsed);
    else if (isSmp ? isForSma(parsed.view, parsed.madAt) : isForGeneralAgent(parsed.view, parsed.madAt)) this.#execute(parsed);
    else this.handOn(parsed);
  }

  portStateChanged(_isActive: boolean): void {}

  /** A MAD that no agent of the port executes; nobody is there to take it. */
  protected handOn(_packet: MadPacket): void {}

  /** Sends an answer of the agents. */
  protected answer(packet: Uint8Array, view: DataView = viewOf(packet)): void {
    this.port.transmitOwn(packet, view);
  }

  #receiveDirected(packet: MadPacket): void {
    const route = routeSmp(this.#smiNode, packet.view, packet.madAt, this.port.number);
    if (route === SmiRoute.AGENT && isForSma(packet.view, packet.madAt)) this.#execute(packet);
    else if (route === SmiRoute.MANAGER || route === SmiRoute.AGENT) this.handOn(packet);
  }

  get #smiNode(): SmiNode {
    return { isSwitch: false, portCount: this.port.node.ports.length - 1 };
  }

  #execute(packet: MadPacket): void {
    // answered in the packet itself, unless it is one of the copies of a multicast
    const mad = isMulticastLid(packet.dlid) ? copyMad(packet.bytes, packet.madAt) : madOf(packet);
    const bytes = bytesOf(mad);
    const method = MadHeader.method.get(mad, 0);
    if (!this.port.processMad(bytes, bytes, { slid: packet.slid, ignoreMkey: false })) return;
    if (MadHeader.method.get(mad, 0) === method) return; // TrapRepress
    if (MadHeader.mgmtClass.get(mad, 0) === MgmtClass.SUBN_DIRECTED_ROUTE) {
      Smp.direction.set(mad, 0, 1);
      const route = routeSmp(this.#smiNode, mad, 0, 0);
      if (route !== this.port.number && route !== SmiRoute.MANAGER) return;
    }
    const reply = turnRound(packet, this.port, mad);
    this.answer(reply, reply === packet.bytes ? packet.view : viewOf(reply));
  }
}

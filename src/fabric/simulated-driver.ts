// Stands in for a guest's driver and its kernel's MAD layer on a CA port: what arrives on QP0 goes through the SMI rules to
// the port's own SMA (MAD_IFC), what arrives on QP1 for the performance class to its PMA, and everything else to whoever
// listens. Hosts without a VM (tests, phantom hosts) use it.

import { isForPma } from "../mad/agents/pma.ts";
import { isForSma } from "../mad/agents/sma.ts";
import { bytesOf, copyMad, isSmpClass, newMad } from "../mad/mad.ts";
import { buildMadPacket, gmpAddress, type MadAddress, type MadPacket, parseMadPacket, replyAddress } from "../mad/packet.ts";
import { routeSmp, SmiRoute } from "../mad/smi.ts";
import { Lid, Qpn } from "../spec/ib/numbers.ts";
import { MadHeader, Smp } from "../spec/mad/headers.ts";
import { MgmtClass } from "../spec/mad/numbers.ts";
import type { CaClient, CaPort } from "./ca-port.ts";

export class SimulatedDriver implements CaClient {
  readonly port: CaPort;
  /** MADs that no agent of the port executes: responses and requests to this host. */
  readonly received: MadPacket[] = [];
  /** What `portStateChanged` has said, oldest first. */
  readonly events: boolean[] = [];
  /** A host that is up but answers nothing. */
  isSilent = false;
  /** Time this host takes to answer; answers leave in `step`. */
  answerNs = 0;
  /** Requests executed for others. */
  executed = 0;
  readonly #late: { dueNs: number; packet: Uint8Array }[] = [];

  constructor(port: CaPort) {
    this.port = port;
    port.attach(this);
  }

  receive(packet: Uint8Array): void {
    if (this.isSilent) return;
    const parsed = parseMadPacket(new Uint8Array(packet));
    if (parsed === undefined) return;
    const isSmp = parsed.destQp === Qpn.SMI;
    const mgmtClass = MadHeader.mgmtClass.get(parsed.view, parsed.madAt);
    if (isSmp !== isSmpClass(mgmtClass)) return;
    if (mgmtClass === MgmtClass.SUBN_DIRECTED_ROUTE) this.#receiveDirected(parsed);
    else if (isSmp ? isForSma(parsed.view, parsed.madAt) : isForPma(parsed.view, parsed.madAt)) this.#execute(parsed);
    else this.received.push(parsed);
  }

  portStateChanged(active: boolean): void {
    this.events.push(active);
  }

  /** Sends a MAD as the driver's MLX queue would: the device fills in the source LID. */
  send(address: Omit<MadAddress, "slid">, mad: DataView): void {
    const slid = address.dlid === Lid.PERMISSIVE ? Lid.PERMISSIVE : this.port.lid;
    this.port.transmit(buildMadPacket({ ...address, slid }, mad));
  }

  /** Sends a general MAD to QP1 at `dlid`. */
  sendGmp(dlid: number, mad: DataView): void {
    this.send(gmpAddress(0, dlid), mad);
  }

  /** Sends the answers that have become due. */
  step(nowNs: number): void {
    for (let i = 0; i < this.#late.length; ) {
      const late = this.#late[i];
      if (late === undefined || late.dueNs > nowNs) {
        i++;
        continue;
      }
      this.#late.splice(i, 1);
      this.port.transmit(late.packet);
    }
  }

  nextDeadlineNs(): number {
    return this.#late.reduce((earliest, { dueNs }) => Math.min(earliest, dueNs), Number.POSITIVE_INFINITY);
  }

  #receiveDirected(packet: MadPacket): void {
    const route = routeSmp(this.#smiNode, packet.view, packet.madAt, this.port.number);
    if (route === SmiRoute.AGENT && isForSma(packet.view, packet.madAt)) this.#execute(packet);
    else if (route === SmiRoute.MANAGER || route === SmiRoute.AGENT) this.received.push(packet);
  }

  get #smiNode(): { isSwitch: boolean; portCount: number } {
    return { isSwitch: false, portCount: this.port.node.ports.length - 1 };
  }

  #execute(packet: MadPacket): void {
    const response = newMad();
    const request = bytesOf(copyMad(packet.bytes, packet.madAt));
    this.executed++;
    if (!this.port.processMad(request, bytesOf(response), { slid: packet.slid, ignoreMkey: false })) return;
    if (MadHeader.method.get(response, 0) === MadHeader.method.get(packet.view, packet.madAt)) return; // TrapRepress
    const isDirected = MadHeader.mgmtClass.get(response, 0) === MgmtClass.SUBN_DIRECTED_ROUTE;
    if (isDirected) {
      Smp.direction.set(response, 0, 1);
      const route = routeSmp(this.#smiNode, response, 0, 0);
      if (route !== this.port.number && route !== SmiRoute.MANAGER) return;
    }
    const answer = buildMadPacket(replyAddress(packet, this.port.lid), response);
    if (this.answerNs > 0) this.#late.push({ dueNs: this.port.node.fabric.nowNs + this.answerNs, packet: answer });
    else this.port.transmit(answer);
  }
}

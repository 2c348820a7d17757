// A port that programs are attached to, one or several: who of them gets a MAD that has come for it.

import type { MadPacket } from "../mad/packet.ts";
import { MadHeader } from "../spec/mad/headers.ts";
import { METHOD_RESPONSE_BIT, Method, MgmtClass } from "../spec/mad/numbers.ts";
import type { IbsimClient } from "./client.ts";
import type { MadReceiver, UmadPort } from "./umad-port.ts";

export class SharedPort {
  readonly umad: UmadPort;
  readonly #clients: IbsimClient[] = [];

  constructor(makePort: (receiver: MadReceiver) => UmadPort) {
    this.umad = makePort((packet) => this.#receive(packet));
  }

  get isEmpty(): boolean {
    return this.#clients.length === 0;
  }

  /** Whether a subnet manager is among them. */
  get hasSm(): boolean {
    return this.#clients.some(({ isSm }) => isSm);
  }

  add(client: IbsimClient): void {
    this.#clients.push(client);
    client.attach(this);
    this.updateIsSm();
  }

  remove(client: IbsimClient): void {
    const index = this.#clients.indexOf(client);
    if (index >= 0) this.#clients.splice(index, 1);
    client.attach(undefined);
    this.updateIsSm();
  }

  /** PortInfo.CapabilityMask says what the clients say. */
  updateIsSm(): void {
    this.umad.setIsSm(this.hasSm);
  }

  #receive(packet: MadPacket): boolean {
    const method = MadHeader.method.get(packet.view, packet.madAt);
    if ((method & METHOD_RESPONSE_BIT) !== 0) return this.#clients.some((client) => client.takeResponse(packet));
    const client = this.#findServer(MadHeader.mgmtClass.get(packet.view, packet.madAt), method);
    client?.takeRequest(packet);
    return client !== undefined;
  }

  /**
   * Which classes a program has registered for it keeps to itself, and the library crashes it if it gets one that it has not. So subnet
   * management goes to the subnet manager, a report to whoever has subscribed, anything else to whoever has answered in its class, or has said
   * nothing yet: a server that waits.
   */
  #findServer(mgmtClass: number, method: number): IbsimClient | undefined {
    const isForSm =
      mgmtClass === MgmtClass.SUBN_LID_ROUTED || mgmtClass === MgmtClass.SUBN_DIRECTED_ROUTE || mgmtClass === MgmtClass.SUBN_ADM;
    if (isForSm && method !== Method.REPORT) return this.#clients.find(({ isSm }) => isSm);
    if (isForSm) return this.#clients.find(({ hasSubscribed }) => hasSubscribed);
    return this.#clients.findLast(({ served }) => served.has(mgmtClass)) ?? this.#clients.findLast(({ hasSent }) => !hasSent);
  }
}

// A phantom host with a memory and a will of its own, for tests: keeps what its agents do not execute, may be slow or silent, sends.

import { buildMadPacket, gmpAddress, type MadAddress, type MadPacket } from "../mad/packet.ts";
import { DEFAULT_PKEY, Lid } from "../spec/ib/numbers.ts";
import { PhantomHost } from "./phantom-host.ts";

export class SimulatedDriver extends PhantomHost {
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

  override receive(packet: Uint8Array): void {
    // Kept beyond the call.
    if (!this.isSilent) super.receive(new Uint8Array(packet));
  }

  override portStateChanged(active: boolean): void {
    this.events.push(active);
  }

  /** Sends a MAD as the driver's MLX queue would: the device fills in the source LID. */
  send(address: Omit<MadAddress, "slid">, mad: DataView): void {
    const slid = address.dlid === Lid.PERMISSIVE ? Lid.PERMISSIVE : this.port.lid;
    this.port.transmit(buildMadPacket({ ...address, slid }, mad));
  }

  /** Sends a general MAD to QP1 at `dlid`. */
  sendGmp(dlid: number, mad: DataView): void {
    this.send({ ...gmpAddress(0, dlid), pkey: this.port.pkeys[0] ?? DEFAULT_PKEY }, mad);
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

  protected override handOn(packet: MadPacket): void {
    this.received.push(packet);
  }

  protected override answer(packet: Uint8Array): void {
    this.executed++;
    if (this.answerNs > 0) this.#late.push({ dueNs: this.port.node.fabric.nowNs + this.answerNs, packet });
    else super.answer(packet);
  }
}

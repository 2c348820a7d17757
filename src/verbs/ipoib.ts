// An IPv4 address for a port without IP: answers who asks for it and finds out whose others are, which is all that RDMA CM needs to
// connect by IP. Data over IP are not carried. RFC 4391, sections 4, 9.1.

import { NS_PER_S } from "../base/clock.ts";
import {
  ARP_INFINIBAND,
  ArpOperation,
  EtherType,
  IPOIB_BROADCAST_MGID,
  IpoibArp,
  IpoibHardwareAddress,
  IpoibHeader,
} from "../spec/ib/ipoib.ts";
import { Qpn } from "../spec/ib/numbers.ts";
import type { AddressHandle } from "./address-handle.ts";
import { ipText, parseIp } from "./cm/ip.ts";
import { patienceOf, Repeater } from "./cm/repeater.ts";
import type { CompletionQueue } from "./completion-queue.ts";
import { activateUd } from "./connect.ts";
import type { Context } from "./context.ts";
import { VerbsError } from "./error.ts";
import type { MemoryRegion } from "./memory-region.ts";
import type { MulticastMembership } from "./multicast.ts";
import type { ProtectionDomain } from "./protection-domain.ts";
import type { QueuePair } from "./queue-pair.ts";
import { newWorkCompletions } from "./work-completion.ts";

const RECEIVES = 64;
const SENDS = 64;
const SLOT_BYTES = 4096;
const GRH_BYTES = 40;
const ARP_AT = IpoibHeader.byteLength;
const PACKET_BYTES = IpoibHeader.byteLength + IpoibArp.byteLength;
const V4_BYTES = 4;
const RESOLVE_NS = 10 * NS_PER_S;

export interface IpoibCounts {
  /** Requests for our address that were answered. */
  answered: number;
  /** Packets that are no ARP, or none for us. */
  ignored: number;
  /** Answers and requests for which no room was left. */
  dropped: number;
}

interface Waiting {
  gid: Uint8Array | undefined;
}

export class IpoibAddress {
  readonly context: Context;
  /** "10.87.0.50". */
  readonly ip: string;
  readonly counts: IpoibCounts = { answered: 0, ignored: 0, dropped: 0 };
  readonly #ip: number;
  readonly #group: MulticastMembership;
  readonly #pd: ProtectionDomain;
  readonly #cq: CompletionQueue;
  readonly #mr: MemoryRegion;
  readonly #qp: QueuePair;
  readonly #broadcast: AddressHandle;
  readonly #hardware: Uint8Array;
  readonly #completions = newWorkCompletions(16);
  /** By the address that is asked for. */
  readonly #waiting = new Map<number, Set<Waiting>>();
  readonly #stopServing: () => void;
  #isServing = false;
  #isClosed = false;

  /**
   * Takes an IPv4 address for the port of `context`: one that nobody else has, in the subnet of the peers' IPoIB.
   * @throws VerbsError EINVAL for what is no IPv4 address, or if the subnet has no IPoIB
   */
  static async join(context: Context, ip: string): Promise<IpoibAddress> {
    const address = parseV4(ip);
    const group = await context.joinMulticast(IPOIB_BROADCAST_MGID);
    return new IpoibAddress(context, address, group);
  }

  private constructor(context: Context, ip: number, group: MulticastMembership) {
    this.context = context;
    this.#ip = ip;
    this.ip = textOf(ip);
    this.#group = group;
    this.#pd = context.allocPd();
    this.#cq = context.createCq(RECEIVES + SENDS);
    this.#mr = this.#pd.regMr(context.allocMemory(RECEIVES * SLOT_BYTES), 1);
    const cap = { maxSendWr: SENDS, maxRecvWr: RECEIVES, maxInlineData: PACKET_BYTES };
    this.#qp = this.#pd.createQp({ qpType: "UD", sendCq: this.#cq, recvCq: this.#cq, cap });
    activateUd(this.#qp, group.qkey);
    for (let slot = 0; slot < RECEIVES; slot++) this.#receive(slot);
    this.#qp.attachMcast(group.mgid);
    this.#broadcast = this.#pd.createAh(group.address);
    this.#hardware = hardwareAddress(this.#qp.qpNum, context.queryGid());
    this.#cq.armOnce();
    this.#stopServing = context.addBackground(() => this.#serve());
  }

  /**
   * Finds the port that has an address.
   * @returns its GID
   * @throws VerbsError EHOSTUNREACH if nobody answers in `timeoutMs` (10 s)
   */
  async resolve(ip: string, { timeoutMs }: { timeoutMs?: number } = {}): Promise<Uint8Array> {
    const target = parseV4(ip);
    const waiting: Waiting = { gid: undefined };
    const others = this.#waiting.get(target) ?? new Set();
    this.#waiting.set(target, others.add(waiting));
    let isOver = false;
    const repeater = new Repeater(this.context.timers, {
      send: () => this.#send(ArpOperation.REQUEST, target, new Uint8Array(IpoibHardwareAddress.byteLength), this.#broadcast),
      patience: patienceOf(timeoutMs, RESOLVE_NS),
      onGiveUp: () => {
        isOver = true;
      },
    });
    try {
      const found = await this.context.until(() => waiting.gid ?? (isOver ? null : undefined), { what: `the port of ${ip}` });
      if (found !== null) return found;
      throw new VerbsError("EHOSTUNREACH", `${ip}: nobody has answered ${repeater.sent} requests for this address`);
    } finally {
      repeater.stop();
      others.delete(waiting);
      if (others.size === 0) this.#waiting.delete(target);
    }
  }

  /** Gives the address up. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stopServing();
    this.#qp.detachMcast(this.#group.mgid);
    this.#broadcast.destroy();
    this.#qp.destroy();
    this.#mr.destroy();
    this.#mr.memory.destroy();
    this.#cq.destroy();
    this.#pd.destroy();
    await this.#group.leave();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #receive(slot: number): void {
    const { addr, lkey } = this.#mr;
    this.#qp.postRecv({ wrId: slot, sgList: [{ addr: addr + slot * SLOT_BYTES, length: SLOT_BYTES, lkey }] });
  }

  #serve(): number {
    if (this.#isClosed || this.#isServing) return 0;
    this.#isServing = true;
    let count = this.#take();
    this.#cq.armOnce();
    // What came before it was armed announces nothing.
    if (count === 0) count = this.#take();
    this.#isServing = false;
    return count;
  }

  #take(): number {
    const count = this.#cq.poll(this.#completions);
    for (const wc of this.#completions.slice(0, count)) {
      if (wc.opcode !== "RECV" || wc.status !== "SUCCESS") continue;
      const at = wc.wrId * SLOT_BYTES;
      const packet = this.#mr.bytes.subarray(at + GRH_BYTES, at + wc.byteLen);
      const ah = this.#pd.createAhFromWc(wc, this.#mr.bytes.subarray(at, at + GRH_BYTES));
      this.#handle(packet, ah);
      ah.destroy();
      this.#receive(wc.wrId);
    }
    return count;
  }

  #handle(packet: Uint8Array, sender: AddressHandle): void {
    const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
    const operation = isArp(view) ? IpoibArp.operation.get(view, ARP_AT) : 0;
    const senderIp = operation === 0 ? 0 : IpoibArp.senderIp.get(view, ARP_AT);
    const hardware = operation === 0 ? packet : IpoibArp.senderHardware.get(view, ARP_AT);
    if (operation === ArpOperation.REQUEST && IpoibArp.targetIp.get(view, ARP_AT) === this.#ip) {
      if (this.#send(ArpOperation.REPLY, senderIp, hardware, sender)) this.counts.answered++;
    } else if (operation === ArpOperation.REPLY && this.#waiting.has(senderIp)) {
      const address = new DataView(hardware.buffer, hardware.byteOffset, hardware.byteLength);
      const gid = IpoibHardwareAddress.gid.get(address, 0).slice();
      for (const waiting of this.#waiting.get(senderIp) ?? []) waiting.gid = gid;
    } else this.counts.ignored++;
  }

  /** @param hardware of the target: 20 bytes, zeros if it is what we ask for */
  #send(operation: number, ip: number, hardware: Uint8Array, ah: AddressHandle): boolean {
    if (this.#isClosed || this.#qp.sendRoom === 0) {
      this.counts.dropped++;
      return false;
    }
    const view = new DataView(new ArrayBuffer(PACKET_BYTES));
    IpoibHeader.type.set(view, 0, EtherType.ARP);
    IpoibArp.hardwareType.set(view, ARP_AT, ARP_INFINIBAND);
    IpoibArp.protocolType.set(view, ARP_AT, EtherType.IPV4);
    IpoibArp.hardwareLength.set(view, ARP_AT, IpoibHardwareAddress.byteLength);
    IpoibArp.protocolLength.set(view, ARP_AT, V4_BYTES);
    IpoibArp.operation.set(view, ARP_AT, operation);
    IpoibArp.senderHardware.set(view, ARP_AT, this.#hardware);
    IpoibArp.senderIp.set(view, ARP_AT, this.#ip);
    IpoibArp.targetHardware.set(view, ARP_AT, hardware);
    IpoibArp.targetIp.set(view, ARP_AT, ip);
    const hardwareView = new DataView(hardware.buffer, hardware.byteOffset, hardware.byteLength);
    const remoteQpn = operation === ArpOperation.REQUEST ? Qpn.MULTICAST : IpoibHardwareAddress.qpn.get(hardwareView, 0);
    const inlineData = new Uint8Array(view.buffer);
    this.#qp.postSend({ opcode: "SEND", ah, remoteQpn, remoteQkey: this.#group.qkey, inlineData });
    return true;
  }
}

function isArp(view: DataView): boolean {
  return (
    view.byteLength >= PACKET_BYTES &&
    IpoibHeader.type.get(view, 0) === EtherType.ARP &&
    IpoibArp.hardwareType.get(view, ARP_AT) === ARP_INFINIBAND &&
    IpoibArp.protocolType.get(view, ARP_AT) === EtherType.IPV4 &&
    IpoibArp.hardwareLength.get(view, ARP_AT) === IpoibHardwareAddress.byteLength &&
    IpoibArp.protocolLength.get(view, ARP_AT) === V4_BYTES
  );
}

function hardwareAddress(qpn: number, gid: Uint8Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(IpoibHardwareAddress.byteLength));
  IpoibHardwareAddress.qpn.set(view, 0, qpn);
  IpoibHardwareAddress.gid.set(view, 0, gid);
  return new Uint8Array(view.buffer);
}

function parseV4(text: string): number {
  const bytes = parseIp(text);
  if (bytes.length === V4_BYTES) return new DataView(bytes.buffer).getUint32(0);
  throw new VerbsError("EINVAL", `${text}: must be an IPv4 address`);
}

function textOf(ip: number): string {
  const view = new DataView(new ArrayBuffer(V4_BYTES));
  view.setUint32(0, ip);
  return ipText(new Uint8Array(view.buffer));
}

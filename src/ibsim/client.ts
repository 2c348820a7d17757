// A program that the preload library has attached to a port: its MADs go into the fabric as that port's, and answers, traps and requests for
// it come out. One datagram is one MAD.

import { AbstractDatagramSocket } from "../host/abstract-datagram.ts";
import type { DatagramBatch } from "../host/datagram-batch.ts";
import type { NativeMemory } from "../host/mapping.ts";
import { PollEvent, type Poller } from "../host/poller.ts";
import { Errno } from "../host/system-error.ts";
import { bytesOf, newMad } from "../mad/mad.ts";
import type { MadPacket } from "../mad/packet.ts";
import { rmppTypeOf } from "../mad/rmpp.ts";
import { isMulticastLid, Lid } from "../spec/ib/numbers.ts";
import { DATAGRAM_MAD_AT, MadDatagram, SocketName, TIMED_OUT } from "../spec/ibsim/messages.ts";
import { MadHeader, Rmpp } from "../spec/mad/headers.ts";
import {
  MAD_BYTES,
  METHOD_RESPONSE_BIT,
  Method,
  MgmtClass,
  RmppFlag,
  RmppStatus,
  RmppType,
  SaAttribute,
} from "../spec/mad/numbers.ts";
import type { IbsimCounts } from "./counts.ts";
import { Fifo } from "./fifo.ts";
import { DATAGRAMS_AT_ONCE, MAX_OUTSTANDING, MAX_TRAPS, MAX_UNREAD, MAX_WAITING } from "./limits.ts";
import { type Request, Requests } from "./requests.ts";
import type { SharedPort } from "./shared-port.ts";

/** Methods that somebody answers. */
const ASKING: ReadonlySet<number> = new Set([
  Method.GET,
  Method.SET,
  Method.REPORT,
  Method.GET_TABLE,
  Method.GET_TRACE_TABLE,
  Method.GET_MULTI,
  Method.DELETE,
]);

const isSubscription = (mad: DataView): boolean =>
  MadHeader.mgmtClass.get(mad, 0) === MgmtClass.SUBN_ADM && MadHeader.attributeId.get(mad, 0) === SaAttribute.INFORM_INFO;

export interface ClientOptions {
  readonly baseName: string;
  readonly slot: number;
  /** What it calls its own data socket after. */
  readonly id: number;
  /** Name of its control socket: nobody else may speak for it. */
  readonly controlName: string;
  readonly counts: IbsimCounts;
  /** Where its MADs arrive, and scratch memory for one that goes to it; all clients may share them. */
  readonly inbox: DatagramBatch;
  readonly memory: NativeMemory;
  /** Carries what is in the fabric, within bounds. */
  readonly carry: () => void;
  /** Whether the port with that LID has such programs, too. */
  readonly hasPrograms: (lid: number) => boolean;
}

export class IbsimClient {
  readonly slot: number;
  readonly id: number;
  readonly controlName: string;
  readonly socket: AbstractDatagramSocket;
  /** The other end's name. */
  readonly #peerName: string;
  readonly #inbox: DatagramBatch;
  readonly #memory: NativeMemory;
  readonly #carry: () => void;
  readonly #hasPrograms: (lid: number) => boolean;
  readonly #counts: IbsimCounts;
  readonly #requests: Requests;
  /** MADs of requests that are over, for the next ones. */
  readonly #spare: DataView[] = [];
  readonly #waiting = new Fifo<Request>(MAX_WAITING);
  readonly #unread = new Fifo<Uint8Array>(MAX_UNREAD);
  /** Upper halves of the transaction ids of traps it got, by their lower halves. */
  readonly #traps = new Map<number, number>();
  #port: SharedPort | undefined;
  #nowNs = 0;
  isSm = false;
  /** Whether it has sent a MAD yet; one that has not is a server that waits. */
  hasSent = false;
  /** Whether it has asked the subnet administration for reports. */
  hasSubscribed = false;
  /** Management classes in which it has answered. */
  readonly served = new Set<number>();

  /** @throws SystemError if its data socket is not there */
  constructor(options: ClientOptions) {
    this.slot = options.slot;
    this.id = options.id;
    this.controlName = options.controlName;
    this.#counts = options.counts;
    this.#inbox = options.inbox;
    this.#memory = options.memory;
    this.#carry = options.carry;
    this.#hasPrograms = options.hasPrograms;
    this.#peerName = SocketName.clientData(options.baseName, options.id);
    this.socket = new AbstractDatagramSocket(SocketName.data(options.baseName, options.slot));
    this.#requests = new Requests(options.slot, {
      send: ({ dlid, destQp, mad }) => this.#port?.umad.send(dlid, destQp, mad),
      giveBack: (request) => this.#giveBack(request),
    });
  }

  /** Whether the program is there: its socket goes with it. */
  checkIsAlive(): boolean {
    return this.socket.connect(this.#peerName) === 0;
  }

  attach(port: SharedPort | undefined): void {
    this.#port = port;
  }

  get port(): SharedPort | undefined {
    return this.#port;
  }

  watch(poller: Poller): void {
    poller.add(this.socket.descriptor, this.#unread.length > 0 ? PollEvent.IN | PollEvent.OUT : PollEvent.IN);
  }

  /** Takes what it has sent and does what is due; returns how much. Does not wait. */
  poll(nowNs: number): number {
    this.#nowNs = nowNs;
    const work = this.#sendUnread() + this.#takeSent();
    this.#requests.step(nowNs);
    this.#sendWaiting();
    return work;
  }

  nextDeadlineNs(): number {
    return this.#requests.nextDeadlineNs();
  }

  /** A response has come to its port; false if it answers nothing of this client's. */
  takeResponse(packet: MadPacket): boolean {
    const { view, madAt } = packet;
    const request = this.#requests.take(MadHeader.tid.hi.get(view, madAt), MadHeader.tid.lo.get(view, madAt));
    if (request === undefined) return false;
    this.#deliver(packet, request.tidHi);
    this.#endTable(packet);
    this.#recycle(request.mad);
    this.#sendWaiting();
    return true;
  }

  /**
   * The library hands out the first segment of a table and knows nothing of RMPP. Its sender is told that there is no more to send (13.6.2): it would
   * send again and again, and keep the transfer for so long. Another program of that library sends one segment and knows nothing of RMPP either.
   */
  #endTable(packet: MadPacket): void {
    const { bytes, view, madAt, slid, srcQp } = packet;
    if (MadHeader.mgmtClass.get(view, madAt) !== MgmtClass.SUBN_ADM || rmppTypeOf(packet) !== RmppType.DATA) return;
    if (this.#hasPrograms(slid)) return;
    const mad = newMad();
    bytesOf(mad).set(bytes.subarray(madAt, madAt + MAD_BYTES));
    MadHeader.method.set(mad, 0, MadHeader.method.get(view, madAt) ^ METHOD_RESPONSE_BIT);
    const isWhole = (Rmpp.flags.get(mad, 0) & RmppFlag.LAST) !== 0;
    Rmpp.type.set(mad, 0, isWhole ? RmppType.ACK : RmppType.STOP);
    Rmpp.flags.set(mad, 0, RmppFlag.ACTIVE);
    Rmpp.status.set(mad, 0, isWhole ? RmppStatus.OK : RmppStatus.RESOURCES);
    Rmpp.segment.set(mad, 0, 1);
    Rmpp.payloadOrWindow.set(mad, 0, 1);
    this.#port?.umad.send(slid, srcQp, mad);
  }

  /** A request or a trap for it. */
  takeRequest(packet: MadPacket): void {
    const { view, madAt } = packet;
    const tidHi = MadHeader.tid.hi.get(view, madAt);
    if (MadHeader.method.get(view, madAt) === Method.TRAP) this.#rememberTrap(MadHeader.tid.lo.get(view, madAt), tidHi);
    this.#deliver(packet, tidHi);
  }

  close(): void {
    this.socket.close();
  }

  // --- from the client

  /** One after the other, each answered before the next if that can be: the program works on the answer meanwhile. */
  #takeSent(): number {
    const count = this.socket.receiveMany(this.#inbox);
    for (let i = 0; i < count; i++) {
      this.#takeDatagram(this.#inbox.offsetOf(i), this.#inbox.lengthOf(i));
      this.#carry();
    }
    return Math.max(0, count);
  }

  /** @param at where it begins in the inbox */
  #takeDatagram(at: number, length: number): void {
    const { view, bytes } = this.#inbox.memory;
    if (length !== MadDatagram.byteLength) {
      this.#counts.badMads++;
      return;
    }
    this.#counts.madsFrom++;
    this.hasSent = true;
    const mad = this.#spare.pop() ?? newMad();
    // The library sends what lay on its stack behind a shorter MAD.
    const { hi, lo } = MadDatagram.length;
    const meant = hi.get(view, at) > 0 ? MAD_BYTES : Math.min(lo.get(view, at), MAD_BYTES);
    const from = at + DATAGRAM_MAD_AT;
    const own = bytesOf(mad);
    bytes.copy(own, 0, from, from + meant);
    if (meant < MAD_BYTES) own.fill(0, meant);
    const tidHi = MadHeader.tid.hi.get(mad, 0);
    this.#take({ mad, dlid: MadDatagram.dlid.get(view, at), destQp: MadDatagram.destQp.get(view, at) & 0xffffff, tidHi });
  }

  #take(request: Request): void {
    const { mad, dlid } = request;
    const method = MadHeader.method.get(mad, 0);
    if (dlid === Lid.RESERVED || (ASKING.has(method) && isMulticastLid(dlid))) {
      this.#giveBack(request);
      return;
    }
    if (!ASKING.has(method)) {
      if (method === Method.TRAP_REPRESS) this.#mendTrapRepress(mad);
      else if ((method & METHOD_RESPONSE_BIT) !== 0) this.served.add(MadHeader.mgmtClass.get(mad, 0));
      this.#port?.umad.send(dlid, request.destQp, mad);
      this.#recycle(mad);
      return;
    }
    if (isSubscription(mad)) this.hasSubscribed = true;
    if (!this.#requests.isFull) this.#requests.send(request, this.#nowNs);
    else if (!this.#waiting.push(request)) this.#giveBack(request);
  }

  #recycle(mad: DataView): void {
    if (this.#spare.length < MAX_OUTSTANDING) this.#spare.push(mad);
  }

  #sendWaiting(): void {
    while (this.#waiting.length > 0 && !this.#requests.isFull) {
      const request = this.#waiting.shift();
      if (request !== undefined) this.#requests.send(request, this.#nowNs);
    }
  }

  #rememberTrap(tidLo: number, tidHi: number): void {
    this.#traps.delete(tidLo);
    this.#traps.set(tidLo, tidHi);
    for (const oldest of this.#traps.keys()) {
      if (this.#traps.size <= MAX_TRAPS) return;
      this.#traps.delete(oldest);
    }
  }

  /** The library takes a TrapRepress for a request and writes into its transaction id, which has to be the trap's (IBA vol 1, 13.4.9). */
  #mendTrapRepress(mad: DataView): void {
    MadHeader.tid.hi.set(mad, 0, this.#traps.get(MadHeader.tid.lo.get(mad, 0)) ?? 0);
  }

  // --- to the client

  #giveBack({ mad, dlid, destQp, tidHi }: Request): void {
    this.#counts.timedOut++;
    this.#write(bytesOf(mad), tidHi, { dlid: 0, slid: dlid, destQp: 0, srcQp: destQp, status: TIMED_OUT });
  }

  #deliver({ bytes, madAt, dlid, slid, destQp, srcQp }: MadPacket, tidHi: number): void {
    this.#write(bytes.subarray(madAt, madAt + MAD_BYTES), tidHi, { dlid, slid, destQp, srcQp, status: 0 });
  }

  #write(
    mad: Uint8Array,
    tidHi: number,
    header: { dlid: number; slid: number; destQp: number; srcQp: number; status: number },
  ): void {
    const { view, bytes } = this.#memory;
    MadDatagram.dlid.set(view, 0, header.dlid);
    MadDatagram.slid.set(view, 0, header.slid);
    MadDatagram.destQp.set(view, 0, header.destQp);
    MadDatagram.srcQp.set(view, 0, header.srcQp);
    MadDatagram.status.set(view, 0, header.status);
    MadDatagram.length.lo.set(view, 0, MAD_BYTES);
    bytes.set(mad, DATAGRAM_MAD_AT);
    MadHeader.tid.hi.set(view, DATAGRAM_MAD_AT, tidHi);
    if (this.#unread.length === 0 && this.#send() !== -Errno.EAGAIN) return;
    const copy = Uint8Array.from(bytes.subarray(0, MadDatagram.byteLength));
    if (!this.#unread.push(copy)) this.#counts.unread++;
  }

  #send(): number {
    const result = this.socket.send(this.#memory, 0, MadDatagram.byteLength);
    if (result > 0) this.#counts.madsTo++;
    // Nobody there: the next look finds that out.
    else if (result !== -Errno.EAGAIN) this.#counts.unread++;
    return result;
  }

  #sendUnread(): number {
    let sent = 0;
    for (let next = this.#unread.peek(); next !== undefined && sent < DATAGRAMS_AT_ONCE; next = this.#unread.peek()) {
      this.#memory.bytes.set(next);
      if (this.#send() === -Errno.EAGAIN) break;
      this.#unread.shift();
      sent++;
    }
    return sent;
  }
}

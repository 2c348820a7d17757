// A second engine, slow and plain: one WQE at a time, one byte at a time, nothing remembered between them. It works on copies of
// the guests' memory and on what the driver has set up, and says what memory, completions, states and events must be. Written from
// IBA vol 1, 9.6 to 9.9, 10.2.9, 10.3 and docs "infinihost" 5; imports nothing of `src` on purpose.
//
// What it decides where the documents leave a choice is marked "choice".

import { copy, type Fault, lengthOf, type Range, Right, straight } from "./reference-memory.ts";
import {
  type Blocked,
  type ConnectionFacts,
  Event,
  type ReferenceHca,
  type ReferenceQp,
  type Service,
  Syndrome,
} from "./reference-qp.ts";
import { dataOf, Opcode, type Receive, readSendWqe, type SendWqe, State } from "./reference-queues.ts";

/** BTH opcodes of the last packet of a message: of several packets, or the only one (A.2). */
const Bth = { SEND_LAST: 2, SEND_LAST_IMM: 3, SEND_ONLY: 4, SEND_ONLY_IMM: 5, WRITE_LAST_IMM: 9, WRITE_ONLY_IMM: 0xb };
const BTH_BASE: Record<Service, number> = { RC: 0, UC: 0x20, UD: 0x60 };
const PSNS = 2 ** 24;
const GRH_BYTES = 40;
const UD_MTU = 2048;
const REMOTE_BYTES = 16;
const ATOMIC_BYTES = 16;
const UD_BYTES = 48;
const RNR_FOREVER = 7;

/** 0 or the syndrome it completes with at the requester, or why it waits. */
type Result = number | Blocked;

export class ReferenceEngine {
  readonly hcas: readonly ReferenceHca[];

  constructor(hcas: readonly ReferenceHca[]) {
    this.hcas = hcas;
  }

  /** Does all that can be done without time passing. */
  run(): void {
    for (const { cqs } of this.hcas) for (const cq of cqs) cq.lookAtArm();
    for (let isDone = false; !isDone; ) {
      isDone = true;
      for (const { qps } of this.hcas) for (const qp of qps.values()) while (this.#step(qp)) isDone = false;
    }
  }

  /** So much time passes that all retries are used up. */
  runOutOfTime(): void {
    for (const { qps } of this.hcas) {
      for (const qp of qps.values()) {
        if (qp.waitsFor === "not ready" && qp.connection?.rnrRetry !== RNR_FOREVER) this.#fail(qp, Syndrome.RNR_RETRY);
        else if (qp.waitsFor === "no answer") this.#fail(qp, Syndrome.RETRY);
      }
    }
    this.run();
  }

  /** One thing that this QP does; false if there is none. */
  #step(qp: ReferenceQp): boolean {
    if (qp.state === State.ERR) return flushSend(qp) || flushReceive(qp);
    if (qp.state === State.SQE) return flushSend(qp);
    if (qp.state !== State.RTS || qp.posted === 0) return false;
    const wqe = readSendWqe(qp.hca.memory, qp.sendRing, qp.sent);
    const request = new Request(this, qp, wqe);
    const result = request.execute();
    // Choice: who may not ask again after "not ready" has its answer, also if the peer falls silent before the timer ends (9.7.5.2.8).
    const hasAnswer = qp.waitsFor === "not ready" && qp.connection?.rnrRetry === 0 && result === "no answer";
    if (hasAnswer) return false;
    qp.waitsFor = typeof result === "string" ? result : undefined;
    if (typeof result === "string") return false;
    if (result === 0) qp.completeSend(wqe, request.answered);
    else this.#fail(qp, result);
    return true;
  }

  /** The WQE at the head fails: RC goes to ERR, the others stop their send queue (9.9.2, 10.3.1). */
  #fail(qp: ReferenceQp, syndrome: number): void {
    qp.waitsFor = undefined;
    qp.completeSendError(syndrome);
    if (qp.service === "RC") qp.enterError();
    else qp.state = State.SQE;
  }

  hcaAt(lid: number): ReferenceHca | undefined {
    return this.hcas.find((hca) => hca.lid === lid);
  }
}

function flushSend(qp: ReferenceQp): boolean {
  qp.waitsFor = undefined;
  if (qp.posted === 0) return false;
  qp.completeSendError(Syndrome.FLUSHED);
  return true;
}

/** The WQE in hand, then what is posted; the WQEs of an SRQ belong to others too. */
function flushReceive(qp: ReferenceQp): boolean {
  const receive = qp.inHand ?? (qp.receives.isShared || qp.receives.available() === 0 ? undefined : qp.receives.take());
  if (receive === undefined) return false;
  qp.completeReceiveError(receive, Syndrome.FLUSHED);
  return true;
}

/** One send WQE on its way. */
class Request {
  /** What the requester's CQE says was read. */
  answered = 0;
  readonly #engine: ReferenceEngine;
  readonly #qp: ReferenceQp;
  readonly #wqe: SendWqe;
  #ranges: Range[] = [];
  #inline: Buffer | undefined;
  #length = 0;
  /** UC: dropped at the other end, where nothing counts it. */
  #isLost = false;

  constructor(engine: ReferenceEngine, qp: ReferenceQp, wqe: SendWqe) {
    this.#engine = engine;
    this.#qp = qp;
    this.#wqe = wqe;
  }

  execute(): Result {
    const { opcode } = this.#wqe;
    if (opcode === Opcode.NOP) return 0;
    return this.#qp.isConnected ? this.#connected() : this.#datagram();
  }

  get #hasImmediate(): boolean {
    return this.#wqe.opcode === Opcode.SEND_IMM || this.#wqe.opcode === Opcode.WRITE_IMM;
  }

  /** Reads the data segments and checks what the requester itself can know; 0 or a syndrome. */
  #prepare(segmentsAt: number, right: number, lengthMax: number): number {
    const { ranges, inline } = dataOf(this.#wqe.segments.subarray(segmentsAt));
    this.#ranges = ranges;
    this.#inline = inline;
    this.#length = inline?.length ?? lengthOf(ranges);
    if (this.#length > lengthMax) return Syndrome.LENGTH;
    if (inline !== undefined) return right === Right.LOCAL_WRITE ? Syndrome.OPERATION : 0;
    const { memory } = this.#qp.hca;
    return ranges.every((range) => memory.allows(range, this.#qp.pd, right)) ? 0 : Syndrome.PROTECTION;
  }

  /** Copies the payload to where it goes; what arrives of a message that breaks off is nobody's to rely on. */
  #moveTo(hca: ReferenceHca, ranges: readonly Range[], skip = 0): Fault {
    const targets = hca.memory.places(ranges);
    const { memory } = this.#qp.hca;
    const fault =
      this.#inline === undefined
        ? copy(memory.bytes, memory.places(this.#ranges), hca.memory.bytes, targets, skip)
        : copy(this.#inline, straight(this.#inline.length), hca.memory.bytes, targets, skip);
    if (fault !== undefined) hca.unspecified.push(targets);
    return fault;
  }

  // ---- RC and UC --------------------------------------------------------------------------------------------------------

  #connected(): Result {
    const { opcode, segments } = this.#wqe;
    const connection = this.#connection;
    const isAtomic = opcode === Opcode.SWAP || opcode === Opcode.ADD;
    const isAnswered = isAtomic || opcode === Opcode.READ;
    const isSend = opcode === Opcode.SEND || opcode === Opcode.SEND_IMM;
    const isWrite = opcode === Opcode.WRITE || opcode === Opcode.WRITE_IMM;
    if (opcode === Opcode.BIND) return Syndrome.BIND;
    if (!isAnswered && !isSend && !isWrite) return Syndrome.OPERATION;
    // UC has no responses; and whoever may have no reads outstanding may post none (11.4.1.1).
    if (isAnswered && (this.#qp.service === "UC" || !connection.mayRead)) return Syndrome.OPERATION;
    const dataAt = (isSend ? 0 : REMOTE_BYTES) + (isAtomic ? ATOMIC_BYTES : 0);
    const status = this.#prepare(dataAt, isAnswered ? Right.LOCAL_WRITE : Right.LOCAL_READ, connection.messageMax);
    if (status !== 0) return status;
    if (isAtomic && this.#length !== 8) return Syndrome.LENGTH;
    const peer = this.#findPeer();
    if (peer === undefined) return this.#qp.service === "RC" ? "no answer" : this.#lose();
    peer.noteArrival();
    const result = isSend ? this.#send(peer) : this.#remote(peer, segments);
    if (result === 0) this.#advance(peer);
    return result;
  }

  get #connection(): ConnectionFacts {
    const { connection } = this.#qp;
    if (connection === undefined) throw new Error("reference: a connected QP has no connection");
    return connection;
  }

  /** The QP that takes packets of this connection (9.6.1); of RC only in sequence. */
  #findPeer(): ReferenceQp | undefined {
    const { lid, qpn } = this.#connection;
    const peer = this.#engine.hcaAt(lid)?.qps.get(qpn);
    if (peer === undefined || !peer.accepts) return undefined;
    return this.#qp.service === "RC" && peer.expectedPsn !== this.#qp.psn ? undefined : peer;
  }

  /** Nobody hears a UC message; its packets are spent all the same. */
  #lose(peer?: ReferenceQp): number {
    this.#spendPsns();
    if (peer !== undefined) peer.expectedPsn = this.#qp.psn;
    return 0;
  }

  #spendPsns(): void {
    this.#qp.psn = (this.#qp.psn + this.#packets) % PSNS;
  }

  get #packets(): number {
    return Math.max(1, Math.ceil(this.#length / this.#connection.mtu));
  }

  #advance(peer: ReferenceQp): void {
    if (this.#isLost) return;
    this.#spendPsns();
    peer.expectedPsn = this.#qp.psn;
    peer.messages = (peer.messages + 1) % PSNS;
  }

  /** A responder that cannot say no drops the message; RC hears it as `syndrome` (9.9.3). */
  #refusedWith(peer: ReferenceQp, syndrome: number): number {
    if (this.#qp.service === "RC") return syndrome;
    this.#isLost = true;
    return this.#lose(peer);
  }

  #notReady(peer: ReferenceQp): Result {
    if (this.#qp.service === "RC") return "not ready";
    return this.#refusedWith(peer, 0);
  }

  #send(peer: ReferenceQp): Result {
    const receive = peer.takeReceive();
    if (receive === undefined) return this.#notReady(peer);
    if (this.#length > receive.length) return this.#tooLong(peer, receive);
    const { memory } = peer.hca;
    if (!receive.ranges.every((range) => memory.allows(range, peer.receives.pd, Right.LOCAL_WRITE))) {
      return this.#failReceive(peer, receive);
    }
    const fault = this.#moveTo(peer.hca, receive.ranges);
    if (fault === "source") return Syndrome.PROTECTION;
    if (fault === "target") return this.#failReceive(peer, receive);
    this.#arrive(peer, receive);
    return 0;
  }

  /** UC drops it and keeps the WQE for the next message (9.8.2.2); for RC both ends fail. */
  #tooLong(peer: ReferenceQp, receive: Receive): number {
    peer.hca.unspecified.push(peer.hca.memory.places(receive.ranges));
    if (this.#qp.service === "UC") peer.refuseReceive(receive);
    else {
      peer.completeReceiveError(receive, Syndrome.LENGTH);
      peer.enterError();
    }
    return this.#refusedWith(peer, Syndrome.REMOTE_INVALID);
  }

  /** The receiver's own mistake: it goes to ERR, an RC requester learns that something there failed. */
  #failReceive(peer: ReferenceQp, receive: Receive): number {
    peer.completeReceiveError(receive, Syndrome.PROTECTION);
    peer.enterError();
    return this.#refusedWith(peer, Syndrome.REMOTE_OPERATION);
  }

  #arrive(peer: ReferenceQp, { offset }: Receive): void {
    const { immediate, isSolicited, opcode } = this.#wqe;
    const isOne = this.#packets === 1;
    let bth = isOne ? Bth.SEND_ONLY : Bth.SEND_LAST;
    if (this.#hasImmediate) bth = isOne ? Bth.SEND_ONLY_IMM : Bth.SEND_LAST_IMM;
    if (opcode === Opcode.WRITE_IMM) bth = isOne ? Bth.WRITE_ONLY_IMM : Bth.WRITE_LAST_IMM;
    peer.inHand = undefined;
    const fields = { wqe: offset, opcode: BTH_BASE[this.#qp.service] + bth, byteCount: this.#length };
    peer.receiveCq.write({ qpn: peer.number, ...fields, immediate: this.#hasImmediate ? immediate : 0 }, isSolicited);
  }

  /** RDMA and atomics: the remote address segment says where. */
  #remote(peer: ReferenceQp, segments: Buffer): Result {
    const { opcode } = this.#wqe;
    const place = { address: segments.readBigUInt64BE(0), key: segments.readUInt32BE(8) };
    switch (opcode) {
      case Opcode.WRITE:
      case Opcode.WRITE_IMM:
        return this.#write(peer, { ...place, length: this.#length });
      case Opcode.READ:
        return this.#read(peer, { ...place, length: this.#length });
      default:
        return this.#atomic(peer, { ...place, length: 8 }, segments);
    }
  }

  /** The QP does not do this at all (table 63: remote invalid request). */
  #invalid(peer: ReferenceQp): number {
    if (this.#qp.service === "RC") peer.failWith(Event.INVALID_REQUEST);
    return this.#refusedWith(peer, Syndrome.REMOTE_INVALID);
  }

  /** Key, bounds, rights or memory are wrong; the receive that immediate data would have used fails too (11.6.2). */
  #denied(peer: ReferenceQp): number {
    if (this.#qp.service === "RC") {
      const receive = this.#wqe.opcode === Opcode.WRITE_IMM ? peer.takeReceive() : undefined;
      if (receive !== undefined) peer.completeReceiveError(receive, Syndrome.LOCAL_ACCESS);
      peer.failWith(Event.ACCESS_VIOLATION);
    } else if (peer.inHand !== undefined && !peer.receives.isShared) peer.giveBack(peer.inHand);
    return this.#refusedWith(peer, Syndrome.REMOTE_ACCESS);
  }

  #write(peer: ReferenceQp, range: Range): Result {
    if (peer.connection?.allowsWrite !== true) return this.#invalid(peer);
    if (!peer.hca.memory.allows(range, peer.pd, Right.REMOTE_WRITE)) return this.#denied(peer);
    // Choice: the WQE for immediate data is taken before any byte moves. With packets it would be the last one that needs it.
    const receive = this.#wqe.opcode === Opcode.WRITE_IMM ? peer.takeReceive() : undefined;
    if (this.#wqe.opcode === Opcode.WRITE_IMM && receive === undefined) {
      peer.hca.unspecified.push(peer.hca.memory.places([range]));
      return this.#notReady(peer);
    }
    const fault = this.#moveTo(peer.hca, [range]);
    if (fault === "source") return Syndrome.PROTECTION;
    if (fault === "target") return this.#denied(peer);
    if (receive !== undefined) this.#arrive(peer, receive);
    return 0;
  }

  #read(peer: ReferenceQp, range: Range): Result {
    if (peer.connection?.allowsRead !== true) return this.#invalid(peer);
    if (!peer.hca.memory.allows(range, peer.pd, Right.REMOTE_READ)) return this.#denied(peer);
    const { memory } = this.#qp.hca;
    const targets = memory.places(this.#ranges);
    const fault = copy(peer.hca.memory.bytes, peer.hca.memory.places([range]), memory.bytes, targets);
    if (fault !== undefined) this.#qp.hca.unspecified.push(targets);
    if (fault === "source") return this.#denied(peer);
    if (fault === "target") return Syndrome.PROTECTION;
    this.answered = this.#length;
    return 0;
  }

  /** Eight aligned bytes as one number, in the byte order of little-endian hosts (9.4.5; 5.5.4). */
  #atomic(peer: ReferenceQp, range: Range, segments: Buffer): Result {
    if (peer.connection?.allowsAtomic !== true || range.address % 8n !== 0n) return this.#invalid(peer);
    if (!peer.hca.memory.allows(range, peer.pd, Right.REMOTE_ATOMIC)) return this.#denied(peer);
    const there = peer.hca.memory.places([range]);
    const original = Buffer.alloc(8);
    if (copy(peer.hca.memory.bytes, there, original, straight(8)) !== undefined) return this.#denied(peer);
    const operand = segments.readBigUInt64BE(REMOTE_BYTES);
    const compared = segments.readBigUInt64BE(REMOTE_BYTES + 8);
    const value = original.readBigUInt64LE(0);
    const result = Buffer.alloc(8);
    if (this.#wqe.opcode === Opcode.ADD) result.writeBigUInt64LE((value + operand) % 2n ** 64n);
    else result.writeBigUInt64LE(value === compared ? operand : value);
    copy(result, straight(8), peer.hca.memory.bytes, there);
    const { memory } = this.#qp.hca;
    const targets = memory.places(this.#ranges);
    if (copy(original, straight(8), memory.bytes, targets) !== undefined) {
      this.#qp.hca.unspecified.push(targets);
      return Syndrome.PROTECTION;
    }
    this.answered = 8;
    return 0;
  }

  // ---- UD -----------------------------------------------------------------------------------------------------------------

  #datagram(): Result {
    const { opcode, segments } = this.#wqe;
    if (opcode !== Opcode.SEND && opcode !== Opcode.SEND_IMM) return Syndrome.OPERATION;
    const pd = segments.readUInt32BE(0) % 2 ** 24;
    if (pd !== this.#qp.pd) return Syndrome.OPERATION;
    const status = this.#prepare(UD_BYTES, Right.LOCAL_READ, UD_MTU);
    if (status !== 0) return status;
    const hca = this.#engine.hcaAt(segments.readUInt16BE(6));
    const target = hca?.qps.get(segments.readUInt32BE(0x20) % 2 ** 24);
    if (target === undefined || target.service !== "UD" || !target.accepts) return 0;
    const grh = (segments.readUInt8(5) & 0x80) === 0 ? undefined : this.#grh();
    if (grh !== undefined && !grh.subarray(24).equals(target.hca.gid)) return 0;
    // A Q_Key with its upper bit set stands for the sender's own (10.2.5).
    const qkey = segments.readUInt32BE(0x24);
    if ((qkey >= 2 ** 31 ? this.#qp.qkey : qkey) !== target.qkey) return 0;
    return this.#deliver(target, grh);
  }

  /** 40 bytes in front of the payload (8.3): version and class, length from the BTH to the ICRC, hop limit, GIDs. */
  #grh(): Buffer {
    const { segments } = this.#wqe;
    const grh = Buffer.alloc(GRH_BYTES);
    grh.writeUInt32BE(6 * 2 ** 28 + (segments.readUInt32BE(0x0c) % 2 ** 28), 0);
    const padded = Math.ceil(this.#length / 4) * 4;
    grh.writeUInt16BE(12 + 8 + (this.#hasImmediate ? 4 : 0) + padded + 4, 4);
    grh.writeUInt8(0x1b, 6);
    grh.writeUInt8(segments.readUInt8(0x0b), 7);
    this.#qp.hca.gid.copy(grh, 8);
    segments.copy(grh, 24, 0x10, 0x20);
    return grh;
  }

  #deliver(target: ReferenceQp, grh: Buffer | undefined): number {
    const { memory } = target.hca;
    const receive = target.takeReceive();
    if (receive === undefined) return 0;
    if (!receive.ranges.every((range) => memory.allows(range, target.receives.pd, Right.LOCAL_WRITE))) {
      return failDatagram(target, receive);
    }
    if (receive.length < GRH_BYTES + this.#length) {
      target.refuseReceive(receive);
      return 0;
    }
    const places = memory.places(receive.ranges);
    if (grh === undefined) target.hca.unspecified.push(places.subarray(0, GRH_BYTES));
    else if (copy(grh, straight(GRH_BYTES), memory.bytes, places) !== undefined) return failDatagram(target, receive);
    const fault = this.#moveTo(target.hca, receive.ranges, GRH_BYTES);
    if (fault === "target") return failDatagram(target, receive);
    if (fault === "source") {
      target.giveBack(receive);
      return Syndrome.PROTECTION;
    }
    target.noteArrival();
    this.#arriveDatagram(target, receive, grh !== undefined);
    return 0;
  }

  #arriveDatagram(target: ReferenceQp, { offset }: Receive, hasGrh: boolean): void {
    const { segments, immediate, isSolicited } = this.#wqe;
    const sl = segments.readUInt8(0x0c) >>> 4;
    target.inHand = undefined;
    target.receiveCq.write(
      {
        qpn: target.number,
        remoteQpn: this.#qp.number,
        path: sl * 2 ** 28 + (hasGrh ? 2 ** 23 : 0) + this.#qp.hca.lid,
        immediate: this.#hasImmediate ? immediate : 0,
        byteCount: GRH_BYTES + this.#length,
        wqe: offset,
        opcode: BTH_BASE.UD + (this.#hasImmediate ? Bth.SEND_ONLY_IMM : Bth.SEND_ONLY),
      },
      isSolicited,
    );
  }
}

/** The receiver's own mistake; the sender hears nothing of it. */
function failDatagram(target: ReferenceQp, receive: Receive): number {
  target.completeReceiveError(receive, Syndrome.PROTECTION);
  target.enterError();
  return 0;
}

// What a send request must lead to, from the specification and not from the engine: the completions of both sides, the memory
// moved, the states after. IBA vol 1, 9.7-9.9 and 10.6; infinihost 5.5. It moves bytes one by one in the shadow of the regions.

import { Access } from "../../src/spec/hca/contexts.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { QpState, Service } from "../../src/spec/ib/numbers.ts";
import { HOLE, type Pair, type Piece, QKEY, type Side, type WqeWorld } from "./wqe-world.ts";

const GRH_BYTES = 40;
const UD_PAYLOAD_MAX = 2048;
/** BTH opcodes of single-packet messages, without the service's bits. */
const Bth = { SEND: 0x04, SEND_IMM: 0x05, WRITE_IMM: 0x0b } as const;
const UC_BITS = 0x20;
const UD_BITS = 0x60;

const { SEND, SEND_IMM, RDMA_WRITE, RDMA_WRITE_IMM, RDMA_READ, ATOMIC_CS, ATOMIC_FA } = SendOpcode;
const CONNECTED_OPCODES: readonly number[] = [SEND, SEND_IMM, RDMA_WRITE, RDMA_WRITE_IMM, RDMA_READ, ATOMIC_CS, ATOMIC_FA];

export interface Request {
  opcode: number;
  pieces: Piece[];
  inline: Buffer | undefined;
  remote: Piece;
  immediate: number;
  isSignaled: boolean;
  swapAdd: bigint;
  compare: bigint;
  /** UD. */
  dlid: number;
  remoteQpn: number;
  qkey: number;
}

/** A completion as the model expects it; what it leaves out may be anything. */
export interface Expected {
  wqe: number;
  syndrome: number;
  opcode?: number;
  byteCount?: number;
  immediate?: number;
  remoteQpn?: number;
}

interface Receive {
  wqe: number;
  pieces: Piece[];
}

const isTouching = ({ length }: Piece): boolean => length > 0;
const totalOf = (pieces: readonly Piece[]): number => pieces.reduce((sum, { length }) => sum + length, 0);

/** Where each byte of a list lies; the list ends where memory is missing. */
function* placesOf(pieces: readonly Piece[]): Generator<{ region: Piece["region"]; at: number } | undefined> {
  for (const { region, offset, length } of pieces) {
    for (let at = offset; at < offset + length; at++) {
      yield region === "holey" && at >= HOLE.first && at < HOLE.end ? undefined : { region, at };
    }
  }
}

const Fault = { NONE: 0, SOURCE: 1, TARGET: 2 } as const;

export class WqeModel {
  readonly near: Side;
  readonly far: Side;
  readonly pair: Pair;
  readonly receives: Receive[] = [];
  nearState: number = QpState.RTS;
  farState: number = QpState.RTS;
  sent: Expected[] = [];
  received: Expected[] = [];

  constructor(world: WqeWorld, pair: Pair) {
    this.near = world.near;
    this.far = world.far;
    this.pair = pair;
  }

  /** The sender posts a request; `wqe` is what its completion will name. */
  send(request: Request, wqe: number): void {
    if (this.nearState !== QpState.RTS) {
      this.sent.push({ wqe, syndrome: Syndrome.WR_FLUSHED });
      return;
    }
    const syndrome = this.pair.service === Service.UD ? this.#datagram(request) : this.#connected(request);
    if (syndrome !== 0) {
      this.sent.push({ wqe, syndrome });
      this.nearState = this.pair.service === Service.RC ? QpState.ERR : QpState.SQE;
    } else if (request.isSignaled) {
      const isAnswered = request.opcode === SendOpcode.RDMA_READ || isAtomic(request.opcode);
      this.sent.push({ wqe, syndrome, opcode: request.opcode, byteCount: isAnswered ? totalOf(request.pieces) : 0 });
    }
  }

  /** What an error of the receiver leaves on its own queue is flushed. */
  end(): void {
    if (this.farState !== QpState.ERR || this.pair.srq !== undefined) return;
    for (const { wqe } of this.receives.splice(0)) this.received.push({ wqe, syndrome: Syndrome.WR_FLUSHED });
  }

  // ---- RC and UC --------------------------------------------------------------------------------------------------------

  #connected(request: Request): number {
    const { opcode } = request;
    if (opcode === SendOpcode.NOP) return 0;
    const isScatter = opcode >= SendOpcode.RDMA_READ;
    const isUc = this.pair.service === Service.UC;
    // There are no memory windows to bind; other numbers mean nothing.
    if (opcode === SendOpcode.BIND_MW) return Syndrome.MW_BIND;
    if (!CONNECTED_OPCODES.includes(opcode) || (isUc && isScatter)) return Syndrome.LOCAL_QP_OPERATION;
    if (request.inline !== undefined && isScatter) return Syndrome.LOCAL_QP_OPERATION;
    const access = isScatter ? Access.LOCAL_WRITE : Access.LOCAL_READ;
    if (!this.#isLocalAllowed(request, access)) return Syndrome.LOCAL_PROTECTION;
    if (isUc && this.farState === QpState.ERR) return 0;
    switch (opcode) {
      case SendOpcode.SEND:
      case SendOpcode.SEND_IMM:
        return this.#send(request);
      case SendOpcode.RDMA_WRITE:
      case SendOpcode.RDMA_WRITE_IMM:
        return this.#write(request);
      case SendOpcode.RDMA_READ:
        return this.#read(request);
      default:
        return this.#atomic(request);
    }
  }

  #isLocalAllowed({ inline, pieces }: Request, access: number): boolean {
    return inline !== undefined || pieces.filter(isTouching).every((piece) => this.near.isAllowed(piece, access));
  }

  #send(request: Request): number {
    const total = lengthOf(request);
    const [receive] = this.receives;
    if (receive === undefined) return this.#notReady();
    if (total > totalOf(receive.pieces)) return this.#tooLong(receive);
    if (!receive.pieces.filter(isTouching).every((piece) => this.far.isAllowed(piece, Access.LOCAL_WRITE))) {
      return this.#failReceive(receive);
    }
    const fault = this.#moveToFar(request, receive.pieces, 0);
    // A message that ends in the middle leaves its receive WQE to the next one (UC), or in hand for ever (RC).
    if (fault === Fault.SOURCE) return Syndrome.LOCAL_PROTECTION;
    if (fault === Fault.TARGET) return this.#failReceive(receive);
    const hasImmediate = request.opcode === SendOpcode.SEND_IMM;
    this.#received(request, hasImmediate ? Bth.SEND_IMM : Bth.SEND, total, hasImmediate);
    return 0;
  }

  #write(request: Request): number {
    const total = lengthOf(request);
    const target = { ...request.remote, length: total };
    const hasImmediate = request.opcode === SendOpcode.RDMA_WRITE_IMM;
    if (total > 0 && !this.far.isAllowed(target, Access.REMOTE_WRITE)) return this.#refuse(Syndrome.REMOTE_ACCESS, hasImmediate);
    if (hasImmediate && this.receives.length === 0) return this.#notReady();
    const fault = this.#moveToFar(request, [target], 0);
    if (fault === Fault.SOURCE) return Syndrome.LOCAL_PROTECTION;
    if (fault === Fault.TARGET) return this.#refuse(Syndrome.REMOTE_ACCESS, hasImmediate);
    if (hasImmediate) this.#received(request, Bth.WRITE_IMM, total, true);
    return 0;
  }

  #read(request: Request): number {
    const total = totalOf(request.pieces);
    const source = { ...request.remote, length: total };
    if (total > 0 && !this.far.isAllowed(source, Access.REMOTE_READ)) return this.#refuse(Syndrome.REMOTE_ACCESS);
    const fault = move(this.far, [source], this.near, request.pieces, 0);
    if (fault === Fault.SOURCE) return this.#refuse(Syndrome.REMOTE_ACCESS);
    return fault === Fault.TARGET ? Syndrome.LOCAL_PROTECTION : 0;
  }

  #atomic(request: Request): number {
    if (totalOf(request.pieces) !== 8) return Syndrome.LOCAL_LENGTH;
    const target = { ...request.remote, length: 8 };
    const address = this.far.buffer(target.region).region.virtualAddress + BigInt(target.offset);
    if ((address & 7n) !== 0n) return this.#refuse(Syndrome.REMOTE_INVALID_REQUEST);
    if (!this.far.isAllowed(target, Access.REMOTE_ATOMIC)) return this.#refuse(Syndrome.REMOTE_ACCESS);
    if ([...placesOf([target])].includes(undefined)) return this.#refuse(Syndrome.REMOTE_ACCESS);
    const memory = this.far.shadow.get(target.region)!;
    const original = memory.readBigUInt64LE(target.offset);
    const isSwapped = request.opcode === SendOpcode.ATOMIC_CS && original === request.compare;
    if (isSwapped) memory.writeBigUInt64LE(request.swapAdd, target.offset);
    if (request.opcode === SendOpcode.ATOMIC_FA) {
      memory.writeBigUInt64LE(BigInt.asUintN(64, original + request.swapAdd), target.offset);
    }
    const result = Buffer.alloc(8);
    result.writeBigUInt64LE(original);
    return moveBytes(result, this.near, request.pieces) === Fault.NONE ? 0 : Syndrome.LOCAL_PROTECTION;
  }

  /** No receive is posted: RC gives up after its retries, a UC message is lost. */
  #notReady(): number {
    return this.pair.service === Service.RC ? Syndrome.RNR_RETRY : 0;
  }

  #tooLong(receive: Receive): number {
    if (this.pair.service === Service.RC) {
      this.#failWith(receive, Syndrome.LOCAL_LENGTH);
      return Syndrome.REMOTE_INVALID_REQUEST;
    }
    if (this.pair.srq !== undefined) this.#consume(Syndrome.LOCAL_LENGTH);
    return 0;
  }

  #failReceive(receive: Receive): number {
    this.#failWith(receive, Syndrome.LOCAL_PROTECTION);
    return this.pair.service === Service.RC ? Syndrome.REMOTE_OPERATION : 0;
  }

  #failWith(_receive: Receive, syndrome: number): void {
    this.#consume(syndrome);
    this.farState = QpState.ERR;
  }

  /** The responder refuses: RC goes to ERR on both sides, with the receive that immediate data would have used; UC loses the message. */
  #refuse(syndrome: number, hasImmediate = false): number {
    if (this.pair.service !== Service.RC) return 0;
    this.farState = QpState.ERR;
    if (hasImmediate) this.#consume(Syndrome.LOCAL_ACCESS);
    return syndrome;
  }

  // ---- UD -----------------------------------------------------------------------------------------------------------------

  #datagram(request: Request): number {
    if (request.opcode === SendOpcode.NOP) return 0;
    if (request.opcode !== SendOpcode.SEND && request.opcode !== SendOpcode.SEND_IMM) return Syndrome.LOCAL_QP_OPERATION;
    const total = lengthOf(request);
    if (total > UD_PAYLOAD_MAX) return Syndrome.LOCAL_LENGTH;
    if (!this.#isLocalAllowed(request, Access.LOCAL_READ)) return Syndrome.LOCAL_PROTECTION;
    const { receiver } = this.pair;
    const isForFar = request.dlid === this.far.guest.wire.lid && request.remoteQpn === receiver.number;
    if (!isForFar || this.farState === QpState.ERR) return 0;
    // A Q_Key with its upper bit set stands for the sender's own.
    if ((request.qkey >= 0x80000000 ? QKEY : request.qkey) !== QKEY) return 0;
    const [receive] = this.receives;
    if (receive === undefined) return 0;
    if (!receive.pieces.filter(isTouching).every((piece) => this.far.isAllowed(piece, Access.LOCAL_WRITE))) {
      this.#failWith(receive, Syndrome.LOCAL_PROTECTION);
      return 0;
    }
    if (totalOf(receive.pieces) < GRH_BYTES + total) {
      if (this.pair.srq !== undefined) this.#consume(Syndrome.LOCAL_LENGTH);
      return 0;
    }
    const fault = this.#moveToFar(request, receive.pieces, GRH_BYTES);
    if (fault === Fault.SOURCE) return Syndrome.LOCAL_PROTECTION;
    if (fault === Fault.TARGET) this.#failWith(receive, Syndrome.LOCAL_PROTECTION);
    else {
      const hasImmediate = request.opcode === SendOpcode.SEND_IMM;
      this.#received(request, hasImmediate ? Bth.SEND_IMM : Bth.SEND, GRH_BYTES + total, hasImmediate);
    }
    return 0;
  }

  // ---- both -----------------------------------------------------------------------------------------------------------------

  #moveToFar(request: Request, target: readonly Piece[], skip: number): number {
    if (request.inline !== undefined) return moveBytes(request.inline, this.far, target, skip);
    return move(this.near, request.pieces, this.far, target, skip);
  }

  #received(request: Request, bth: number, byteCount: number, hasImmediate: boolean): void {
    const { service, sender } = this.pair;
    const bits = service === Service.UC ? UC_BITS : service === Service.UD ? UD_BITS : 0;
    this.#consume(0, {
      opcode: bits | bth,
      byteCount,
      ...(hasImmediate ? { immediate: request.immediate } : {}),
      ...(service === Service.UD ? { remoteQpn: sender.number } : {}),
    });
  }

  #consume(syndrome: number, rest: Partial<Expected> = {}): void {
    const receive = this.receives.shift();
    if (receive !== undefined) this.received.push({ wqe: receive.wqe, syndrome, ...rest });
  }
}

const isAtomic = (opcode: number): boolean => opcode === SendOpcode.ATOMIC_CS || opcode === SendOpcode.ATOMIC_FA;
const lengthOf = ({ inline, pieces }: Request): number => inline?.length ?? totalOf(pieces);

/** Moves a list to the bytes of another after the first `skip`, up to where either has no memory. */
function move(from: Side, source: readonly Piece[], to: Side, target: readonly Piece[], skip: number): number {
  const bytes: number[] = [];
  let fault: number = Fault.NONE;
  for (const place of placesOf(source)) {
    if (place === undefined) {
      fault = Fault.SOURCE;
      break;
    }
    bytes.push(from.shadow.get(place.region)![place.at]!);
  }
  const moved = moveBytes(Buffer.from(bytes), to, target, skip);
  return moved === Fault.NONE ? fault : moved;
}

function moveBytes(bytes: Buffer, to: Side, target: readonly Piece[], skip = 0): number {
  const places = placesOf(target);
  for (let i = 0; i < skip; i++) places.next();
  for (const byte of bytes) {
    const place = places.next().value;
    if (place === undefined) return Fault.TARGET;
    to.shadow.get(place.region)![place.at] = byte;
  }
  return Fault.NONE;
}

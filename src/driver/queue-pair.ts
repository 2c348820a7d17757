// The driver's side of a queue pair: transitions, posting, doorbells. Docs "infinihost" 4.1, 5.1-5.3.

import { Command, QP_CONTEXT_AT, QpTransition } from "../spec/hca/commands.ts";
import { AddressPath, PathMigration, PRIMARY_PATH_AT, QpContext, QpOptional } from "../spec/hca/contexts.ts";
import {
  ATOMIC_SEGMENT_BYTES,
  DATA_SEGMENT_BYTES,
  INLINE_FLAG,
  REMOTE_ADDRESS_BYTES,
  SendOpcode,
  UD_SEGMENT_BYTES,
  WQE_NEXT_BYTES,
} from "../spec/hca/queues.ts";
import { DbRecordType, UarDoorbell } from "../spec/hca/registers.ts";
import { ICRC_BYTES } from "../spec/ib/headers.ts";
import { QpState, Service } from "../spec/ib/numbers.ts";
import { DriverError } from "./access.ts";
import { type AddressHandle, newAddressVector } from "./address-vector.ts";
import type { DriverCompletionQueue } from "./completion-queue.ts";
import type { DoorbellRecordSlot } from "./context-memory.ts";
import type { Device } from "./device.ts";
import { Doorbell } from "./doorbell.ts";
import { Region } from "./memory-region.ts";
import { encodeQpAttributes, type QpAttributes, transitionCommand } from "./qp-attributes.ts";
import { ReceiveQueue } from "./receive-queue.ts";
import { SendControl, SendQueue } from "./send-queue.ts";
import type { DriverSharedReceiveQueue } from "./shared-receive-queue.ts";

/** A data segment. */
export interface Sge {
  address: bigint;
  length: number;
  lkey: number;
}

export interface SendRequest {
  opcode: number;
  sges?: readonly Sge[];
  /** Data copied into the WQE instead of SGEs. */
  inline?: Uint8Array;
  isSignaled?: boolean;
  isSolicited?: boolean;
  isFenced?: boolean;
  immediate?: number;
  /** RDMA and atomics. */
  remoteAddress?: bigint;
  rkey?: number;
  swapAdd?: bigint;
  compare?: bigint;
  /** UD. */
  address?: AddressHandle;
  remoteQpn?: number;
  qkey?: number;
  /** MLX: flags of the control dword (`WqeMlx`) and the destination LID; the SGEs are headers and payload. */
  management?: { vl15: boolean; isPermissive: boolean; sl: number; dlid: number };
}

export interface QueuePairOptions {
  service: number;
  pd: number;
  sendCq: DriverCompletionQueue;
  receiveCq: DriverCompletionQueue;
  sendWqes?: number;
  receiveWqes?: number;
  sges?: number;
  /** The same for receives; `sges` if left out. */
  receiveSges?: number;
  inlineBytes?: number;
  signalAll?: boolean;
  srq?: DriverSharedReceiveQueue;
  /** Internal number of a special QP. */
  number?: number;
}

export interface ConnectOptions {
  remoteQpn: number;
  dlid: number;
  /** Service level of the path (default 0). */
  sl?: number;
  /** Of what the port's link has: 0 all, 1 a quarter, 2 an eighth, 3 half (default 0). */
  staticRate?: number;
  sendPsn?: number;
  receivePsn?: number;
  mtuCode?: number;
  /** log2 of the longest message (default 31). */
  logMaxMessage?: number;
  ackTimeout?: number;
  retryCount?: number;
  rnrRetry?: number;
  minRnrTimer?: number;
  /** False: no outstanding reads and atomics as requester, so none may be posted. */
  sendsReads?: boolean;
  allowsRemoteRead?: boolean;
  allowsRemoteWrite?: boolean;
  allowsRemoteAtomic?: boolean;
}

const ACCESS_MASK = QpOptional.REMOTE_READ | QpOptional.REMOTE_WRITE | QpOptional.REMOTE_ATOMIC;
/** Attributes of INIT → RTR and RTR → RTS by service; datagram services need none. */
export const RTR_MASK: Readonly<Record<number, number>> = {
  [Service.RC]:
    QpOptional.PRIMARY_PATH | QpOptional.RESPONDER_READS | ACCESS_MASK | QpOptional.RNR_TIMER | QpOptional.SCHEDULE_QUEUE,
  [Service.UC]: QpOptional.PRIMARY_PATH | ACCESS_MASK,
};
export const RTS_MASK: Readonly<Record<number, number>> = {
  [Service.RC]:
    QpOptional.ACK_TIMEOUT |
    QpOptional.RETRY_COUNT |
    QpOptional.RNR_RETRY |
    QpOptional.ALTERNATE_RNR_RETRY |
    QpOptional.REQUESTER_READS,
};
/** Of RTS2SQD's modifier (4.1.3). */
const DRAINED_EVENT = 1 << 31;
const MLX_VL15 = 1 << 17;
const MLX_SLR = 1 << 16;
const logOf = (n: number): number => Math.ceil(Math.log2(n));
const high = (value: bigint): number => Number((value >> 32n) & 0xffffffffn);
const low = (value: bigint): number => Number(value & 0xffffffffn);

export class DriverQueuePair {
  readonly number: number;
  readonly service: number;
  readonly pd: number;
  readonly logSqStride: number;
  readonly logRqStride: number;
  readonly logSqSize: number;
  readonly logRqSize: number;
  readonly sqBase: number;
  readonly region: Region;
  readonly sqRecord: DoorbellRecordSlot;
  readonly rqRecord: DoorbellRecordSlot;
  readonly sends: SendQueue;
  /** None if the QP takes its receives from an SRQ. */
  readonly receives: ReceiveQueue | undefined;
  readonly #device: Device;
  readonly #options: QueuePairOptions;
  readonly #ownsNumber: boolean;

  constructor(device: Device, options: QueuePairOptions) {
    this.#device = device;
    this.#options = options;
    this.service = options.service;
    this.pd = options.pd;
    const segments = options.service === Service.UD ? UD_SEGMENT_BYTES : REMOTE_ADDRESS_BYTES + ATOMIC_SEGMENT_BYTES;
    const data = Math.max((options.sges ?? 4) * DATA_SEGMENT_BYTES, (options.inlineBytes ?? 0) + 4);
    this.logSqStride = Math.max(6, logOf(WQE_NEXT_BYTES + segments + data));
    this.logRqStride = Math.max(6, logOf(WQE_NEXT_BYTES + (options.receiveSges ?? options.sges ?? 4) * DATA_SEGMENT_BYTES));
    this.logSqSize = logOf(Math.max(1, options.sendWqes ?? 64));
    this.logRqSize = logOf(Math.max(1, options.receiveWqes ?? 64));
    const rqBytes = options.srq === undefined ? 1 << (this.logRqSize + this.logRqStride) : 0;
    this.sqBase = Math.ceil(rqBytes / (1 << this.logSqStride)) * (1 << this.logSqStride);
    const block = device.heap.allocate(this.sqBase + (1 << (this.logSqSize + this.logSqStride)));
    this.region = new Region(device, block, { pd: options.pd, access: 0, virtualAddress: 0n });
    this.sqRecord = device.icm.allocateRecord(device.uar, true);
    this.rqRecord = device.icm.allocateRecord(device.uar, false);
    this.#ownsNumber = options.number === undefined;
    this.number = options.number ?? device.qpNumbers.allocate();
    const { view } = device.access.memory;
    view.setUint32(this.sqRecord.at + 4, ((this.number << 8) | (DbRecordType.SQ << 5)) >>> 0);
    view.setUint32(this.rqRecord.at + 4, ((this.number << 8) | (DbRecordType.RQ << 5)) >>> 0);
    const { memory } = device.access;
    this.sends = new SendQueue({
      memory,
      at: block.at + this.sqBase,
      base: this.sqBase,
      logSize: this.logSqSize,
      logStride: this.logSqStride,
      recordAt: this.sqRecord.at,
      doorbell: new Doorbell(device.access, device.uar, UarDoorbell.SEND),
      qpn: this.number,
    });
    if (options.srq !== undefined) return;
    const { logRqSize, logRqStride } = this;
    this.receives = new ReceiveQueue({
      memory,
      at: block.at,
      logSize: logRqSize,
      logStride: logRqStride,
      recordAt: this.rqRecord.at,
    });
  }

  /** Send WQEs written so far, modulo 2^16; tests set it to lie. */
  get sendPosted(): number {
    return this.sends.posted;
  }

  set sendPosted(value: number) {
    this.sends.posted = value;
  }

  get receivePosted(): number {
    return this.receives?.posted ?? 0;
  }

  set receivePosted(value: number) {
    if (this.receives !== undefined) this.receives.posted = value;
  }

  // ---- transitions ----------------------------------------------------------------------------------------------------

  /** RESET → INIT. */
  init(options: { port?: number; pkeyIndex?: number; qkey?: number; access?: ConnectOptions } = {}): void {
    const access = options.access ?? {};
    this.transition(Command.RST2INIT_QP, QpState.INIT, QpOptional.PORT | QpOptional.PKEY_INDEX, (view, at) => {
      AddressPath.port.set(view, at + PRIMARY_PATH_AT, options.port ?? 1);
      AddressPath.pkeyIndex.set(view, at + PRIMARY_PATH_AT, options.pkeyIndex ?? 0);
      QpContext.qkey.set(view, at, options.qkey ?? 0);
      QpContext.remoteRead.set(view, at, "allowsRemoteRead" in access && access.allowsRemoteRead === true ? 1 : 0);
      QpContext.remoteWrite.set(view, at, "allowsRemoteWrite" in access && access.allowsRemoteWrite === true ? 1 : 0);
    });
  }

  /** INIT → RTR. Datagram QPs need no options. */
  readyToReceive(options?: ConnectOptions): void {
    this.transition(Command.INIT2RTR_QP, QpState.RTR, RTR_MASK[this.service] ?? 0, (view, at) => {
      QpContext.mtu.set(view, at, options?.mtuCode ?? 4);
      QpContext.logMaxMessage.set(view, at, options?.logMaxMessage ?? 31);
      if (options === undefined) return;
      QpContext.remoteQpn.set(view, at, options.remoteQpn);
      QpContext.nextReceivePsn.set(view, at, options.receivePsn ?? 0);
      QpContext.minRnrTimer.set(view, at, options.minRnrTimer ?? 12);
      QpContext.logResponderReads.set(view, at, 2);
      QpContext.remoteRead.set(view, at, options.allowsRemoteRead === false ? 0 : 1);
      QpContext.remoteWrite.set(view, at, options.allowsRemoteWrite === false ? 0 : 1);
      QpContext.remoteAtomic.set(view, at, options.allowsRemoteAtomic === false ? 0 : 1);
      AddressPath.rlid.set(view, at + PRIMARY_PATH_AT, options.dlid);
      AddressPath.sl.set(view, at + PRIMARY_PATH_AT, options.sl ?? 0);
      AddressPath.staticRate.set(view, at + PRIMARY_PATH_AT, options.staticRate ?? 0);
    });
  }

  /** RTR → RTS. */
  readyToSend(options?: ConnectOptions): void {
    this.transition(Command.RTR2RTS_QP, QpState.RTS, RTS_MASK[this.service] ?? 0, (view, at) => {
      if (options === undefined) return;
      QpContext.nextSendPsn.set(view, at, options.sendPsn ?? 0);
      QpContext.retryCount.set(view, at, options.retryCount ?? 7);
      QpContext.logRequesterReads.set(view, at, 2);
      QpContext.sendReads.set(view, at, options.sendsReads === false ? 0 : 1);
      QpContext.sendAtomics.set(view, at, options.sendsReads === false ? 0 : 1);
      AddressPath.ackTimeout.set(view, at + PRIMARY_PATH_AT, options.ackTimeout ?? 14);
      AddressPath.rnrRetry.set(view, at + PRIMARY_PATH_AT, options.rnrRetry ?? 7);
    });
  }

  toError(): void {
    this.#device.commands.run(Command.ANY2ERR_QP, { modifier: this.number });
  }

  /** Any state → RESET; the rings start afresh. */
  reset(): void {
    this.#device.commands.run(Command.ANY2RST_QP, { modifier: this.number, opcodeModifier: 3 });
    this.sends.reset();
    this.receives?.reset();
  }

  /** The context as the device has it now. */
  query(): DataView {
    const bytes = QP_CONTEXT_AT + QpContext.byteLength;
    const { output } = this.#device.commands.run(Command.QUERY_QP, { modifier: this.number, outputBytes: bytes });
    return new DataView(output.buffer, QP_CONTEXT_AT);
  }

  /** The same with its state at hand. */
  describe(): { view: DataView; state: number } {
    const view = this.query();
    return { view, state: QpContext.state.get(view, 0) };
  }

  /** Any modify command: a fresh context with what the driver always fills in, plus what `fill` writes (4.1.3). */
  transition(opcode: number, state: number, mask: number, fill: (view: DataView, at: number) => void = () => {}): void {
    this.#transition(opcode, state, (view, at) => {
      fill(view, at);
      return mask;
    });
  }

  /** @param fill writes the attributes and returns the mask of those that the device is to take */
  #transition(opcode: number, state: number, fill: (view: DataView, at: number) => number): void {
    const { sendCq, receiveCq, srq, signalAll } = this.#options;
    this.#device.commands.run(opcode, {
      modifier: this.number,
      input: (view, mailbox) => {
        const at = mailbox + QP_CONTEXT_AT;
        QpContext.state.set(view, at, state);
        QpContext.service.set(view, at, this.service);
        QpContext.pathMigration.set(view, at, PathMigration.MIGRATED);
        QpContext.descriptorEvent.set(view, at, 1);
        QpContext.logRqSize.set(view, at, this.#options.srq === undefined ? this.logRqSize : 0);
        QpContext.logRqStride.set(view, at, this.logRqStride - 4);
        QpContext.logSqSize.set(view, at, this.logSqSize);
        QpContext.logSqStride.set(view, at, this.logSqStride - 4);
        QpContext.usrPage.set(view, at, this.#device.uar);
        QpContext.localQpn.set(view, at, this.number);
        QpContext.pd.set(view, at, this.pd);
        QpContext.wqeLkey.set(view, at, this.region.lkey);
        QpContext.sqBase.set(view, at, this.sqBase);
        QpContext.sqRecord.set(view, at, this.sqRecord.index);
        QpContext.rqRecord.set(view, at, this.rqRecord.index);
        QpContext.sendWrites.set(view, at, 1);
        QpContext.receiveSignalAll.set(view, at, 1);
        QpContext.mtu.set(view, at, this.service === Service.UD || this.service === Service.MLX ? 4 : 0);
        QpContext.sendCqn.set(view, at, sendCq.number);
        QpContext.receiveCqn.set(view, at, receiveCq.number);
        QpContext.signalAll.set(view, at, signalAll === true ? 1 : 0);
        QpContext.srqAttached.set(view, at, srq === undefined ? 0 : 1);
        QpContext.srqn.set(view, at, srq?.number ?? 0);
        QpTransition.optionalMask.set(view, mailbox, fill(view, at));
      },
    });
  }

  /**
   * Leads the QP from one state to another, or sets attributes of one that stays where it is.
   * @param wantsDrainedEvent on the way to SQD: raise SQ_DRAINED when the last request is done
   * @throws DriverError EINVAL if no transition leads there, else with the device's status
   */
  modify(from: number, to: number, attributes: QpAttributes, wantsDrainedEvent = false): void {
    const opcode = transitionCommand(from, to);
    if (opcode === undefined) throw new DriverError("EINVAL", `QP ${this.number}: nothing leads from state ${from} to ${to}`);
    if (opcode === Command.ANY2RST_QP) this.reset();
    else if (opcode === Command.ANY2ERR_QP) this.toError();
    else if (opcode === Command.RTS2SQD_QP) {
      const modifier = (this.number | (wantsDrainedEvent ? DRAINED_EVENT : 0)) >>> 0;
      this.#device.commands.run(opcode, { modifier });
    } else this.#transition(opcode, to, (view, at) => encodeQpAttributes(view, at, this.service, attributes));
  }

  // ---- posting --------------------------------------------------------------------------------------------------------

  /** Posts one send and rings the doorbell; returns the WQE's address, as its completion will name it. */
  postSend(request: SendRequest): number {
    const offset = this.writeSend(request);
    this.sends.publish();
    this.sends.ring();
    return offset;
  }

  /** Writes the WQE and links it, but tells nobody yet. */
  writeSend(request: SendRequest): number {
    const { sends } = this;
    const { management } = request;
    const immediate = management === undefined ? (request.immediate ?? 0) : management.dlid << 16;
    const offset = sends.offsetOf(sends.posted);
    sends.begin(request.opcode, controlOf(request), immediate, request.isFenced);
    if (this.service === Service.UD) {
      const vector = newAddressVector(this.pd, request.address ?? { dlid: 0 });
      sends.datagram(vector, request.remoteQpn ?? 0, request.qkey ?? 0);
    } else if (request.remoteAddress !== undefined) {
      sends.remoteHalves(high(request.remoteAddress), low(request.remoteAddress), request.rkey ?? 0);
    }
    if (request.opcode === SendOpcode.ATOMIC_CS || request.opcode === SendOpcode.ATOMIC_FA) {
      const { swapAdd = 0n, compare = 0n } = request;
      sends.atomic(high(swapAdd), low(swapAdd), high(compare), low(compare));
    }
    if (request.inline !== undefined) sends.inline(request.inline);
    else for (const { address, length, lkey } of request.sges ?? []) sends.dataHalves(high(address), low(address), length, lkey);
    // The placeholder for the ICRC, which the device computes (6.1).
    if (management !== undefined) sends.dataHalves(0, 0, INLINE_FLAG | ICRC_BYTES, 0);
    if (!sends.end())
      throw new DriverError("EINVAL", `QP ${this.number}: the WQE does not fit into ${1 << this.logSqStride} bytes`);
    return offset;
  }

  /** Stores the send doorbell record. */
  publishSends(): void {
    this.sends.publish();
  }

  /** Posts one receive; returns the WQE's address. */
  postReceive(sges: readonly Sge[]): number {
    const { receives } = this;
    if (receives === undefined) throw new DriverError("EINVAL", `QP ${this.number}: takes its receives from an SRQ`);
    const offset = receives.offsetOf(receives.posted);
    receives.begin();
    for (const { address, length, lkey } of sges) receives.dataHalves(high(address), low(address), length, lkey);
    if (!receives.end())
      throw new DriverError("EINVAL", `QP ${this.number}: the WQE does not fit into ${1 << this.logRqStride} bytes`);
    receives.publish();
    return offset;
  }

  /** Where a send slot lies in DMA memory, for tests that tamper with it. */
  sendSlotAt(slot: number): number {
    return this.sends.slotAt(slot);
  }

  destroy(): void {
    this.#device.commands.run(Command.ANY2RST_QP, { modifier: this.number, opcodeModifier: 3 });
    this.#device.icm.freeRecord(this.sqRecord);
    this.#device.icm.freeRecord(this.rqRecord);
    if (this.#ownsNumber) this.#device.qpNumbers.free(this.number);
    this.region.deregister();
    this.#device.heap.free(this.region.block);
  }
}

/** The control dword of a send WQE (5.2.1), or of an MLX one (6.1). */
function controlOf(request: SendRequest): number {
  const signaled = request.isSignaled === false ? 0 : SendControl.SIGNALED;
  const { management } = request;
  if (management === undefined) return SendControl.ALWAYS | (request.isSolicited === true ? SendControl.SOLICITED : 0) | signaled;
  return (management.vl15 ? MLX_VL15 : 0) | (management.isPermissive ? MLX_SLR : 0) | (management.sl << 8) | signaled;
}

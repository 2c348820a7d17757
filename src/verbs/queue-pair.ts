// Queue pairs: `postSend`/`postRecv` with request objects, and ibv_qp_ex' wrStart … wrComplete, which allocates nothing and throws
// nothing. IBA vol 1, 10.2.4, 11.2.4, 11.4.1; docs "infinihost" 4.1, 5.1-5.3.

import { DriverQueuePair } from "../driver/queue-pair.ts";
import type { ReceiveQueue } from "../driver/receive-queue.ts";
import { SendControl, type SendQueue } from "../driver/send-queue.ts";
import { SendOpcode } from "../spec/hca/queues.ts";
import { QpState, Service } from "../spec/ib/numbers.ts";
import type { AddressHandle } from "./address-handle.ts";
import type { CompletionQueue } from "./completion-queue.ts";
import { asVerb, VerbsError } from "./error.ts";
import { VerbsObject } from "./object.ts";
import type { ProtectionDomain } from "./protection-domain.ts";
import { describeQp, encodeQpAttributes, type QpAttributes, type QpModify } from "./qp-attributes.ts";
import { checkTransition, type QpStateName, type QpType } from "./qp-state-table.ts";
import type { SharedReceiveQueue } from "./shared-receive-queue.ts";
import type { WorkCompletion } from "./work-completion.ts";
import { deviceOpcodes, highOf, lowOf, type RecvWr, SendFlag, type SendWr, type Sge } from "./work-request.ts";

export interface QpCapabilities {
  readonly maxSendWr: number;
  readonly maxRecvWr: number;
  readonly maxSendSge: number;
  readonly maxRecvSge: number;
  /** Bytes that may travel in the request itself. */
  readonly maxInlineData: number;
}

export interface QpInitAttributes {
  readonly qpType: QpType;
  readonly sendCq: CompletionQueue;
  readonly recvCq: CompletionQueue;
  readonly srq?: SharedReceiveQueue;
  /** What is left out: 64 requests, one SGE, no inline data. */
  readonly cap?: Partial<QpCapabilities>;
  /** Every send completes, whatever its flags say. */
  readonly sqSigAll?: boolean;
}

/** What `wrComplete` and the other calls that throw nothing return: 0, or libibverbs' errno. */
export const WrError = { NONE: 0, ENOMEM: 12, EINVAL: 22 } as const;

const services: Readonly<Record<QpType, number>> = { RC: Service.RC, UC: Service.UC, UD: Service.UD };
const stateNames: readonly QpStateName[] = ["RESET", "INIT", "RTR", "RTS", "SQE", "SQD", "ERR", "SQD"];
const stateNumbers: Readonly<Record<QpStateName, number>> = {
  ...{ RESET: QpState.RST, INIT: QpState.INIT, RTR: QpState.RTR, RTS: QpState.RTS },
  ...{ SQE: QpState.SQE, SQD: QpState.SQD, ERR: QpState.ERR },
};
const COUNTER_MASK = 0xffff;

export class QueuePair extends VerbsObject {
  readonly pd: ProtectionDomain;
  readonly qpType: QpType;
  readonly sendCq: CompletionQueue;
  readonly recvCq: CompletionQueue;
  readonly srq: SharedReceiveQueue | undefined;
  readonly cap: QpCapabilities;
  readonly qpNum: number;
  /** For the next request of the wr… calls. */
  wrId = 0;
  /** Bits of `SendFlag` for the next request of the wr… calls; INLINE is a call of its own there. */
  wrFlags: number = SendFlag.SIGNALED;
  readonly #qp: DriverQueuePair;
  readonly #sends: SendQueue;
  readonly #receives: ReceiveQueue | undefined;
  readonly #sendIds: Float64Array;
  readonly #receiveIds: Float64Array;
  #state: QpStateName = "RESET";
  #sendsDone = 0;
  #receivesDone = 0;
  #wrFirst = 0;
  #isWrOpen = false;
  #wrError: number = WrError.NONE;

  /** Use `pd.createQp`. */
  constructor(pd: ProtectionDomain, init: QpInitAttributes) {
    super([pd, init.sendCq, init.recvCq, ...(init.srq === undefined ? [] : [init.srq])]);
    const { qpType, sendCq, recvCq, srq } = init;
    const { maxSendWr = 64, maxRecvWr = 64, maxSendSge = 1, maxRecvSge = 1, maxInlineData = 0 } = init.cap ?? {};
    this.pd = pd;
    this.qpType = qpType;
    this.sendCq = sendCq;
    this.recvCq = recvCq;
    this.srq = srq;
    this.#qp = asVerb(
      () =>
        new DriverQueuePair(pd.context.device, {
          service: services[qpType],
          pd: pd.number,
          sendCq: sendCq.driver,
          receiveCq: recvCq.driver,
          sendWqes: maxSendWr,
          receiveWqes: maxRecvWr,
          sges: Math.max(maxSendSge, 1),
          receiveSges: Math.max(maxRecvSge, 1),
          inlineBytes: maxInlineData,
          signalAll: init.sqSigAll ?? false,
          ...(srq === undefined ? {} : { srq: srq.driver }),
        }),
    );
    this.qpNum = this.#qp.number;
    this.#sends = this.#qp.sends;
    this.#receives = this.#qp.receives;
    this.#sendIds = new Float64Array(this.#sends.size);
    this.#receiveIds = new Float64Array(this.#receives?.size ?? 0);
    const maxRecv = this.#receives?.size ?? 0;
    this.cap = { maxSendWr: this.#sends.size, maxRecvWr: maxRecv, maxSendSge, maxRecvSge, maxInlineData };
    pd.context.qps.set(this.qpNum, this);
    this.holdOwners();
  }

  get label(): string {
    return `QP 0x${this.qpNum.toString(16)}`;
  }

  // ---- state ------------------------------------------------------------------------------------------------------------

  /** The state it was last brought into; the device may have moved it on to ERR or SQE since (`query`). */
  get state(): QpStateName {
    return this.#state;
  }

  /**
   * Sets attributes, and leads to another state if `qpState` says so. What a transition needs and takes is checked first.
   * @throws VerbsError EINVAL that names what is missing or out of place
   */
  modify(attributes: QpModify): void {
    this.assertAlive("to modify it");
    const from = attributes.curQpState ?? this.#state;
    const to = attributes.qpState ?? from;
    const encoded = encodeQpAttributes(attributes);
    checkTransition(this.label, this.qpType, from, to, encoded.names);
    asVerb(() => this.#qp.modify(stateNumbers[from], stateNumbers[to], encoded.values, attributes.enSqdAsyncNotify === true));
    this.#state = to;
    if (to === "RESET") this.#forgetRequests();
  }

  /** Attributes and state as the device has them now. */
  query(): QpAttributes {
    this.assertAlive("to query it");
    if (this.#state === "RESET") return { qpState: "RESET" };
    const { view, state } = asVerb(() => this.#qp.describe());
    const qpState = stateNames[state] as QpStateName;
    this.#state = qpState;
    return { qpState, ...describeQp(view) };
  }

  #forgetRequests(): void {
    this.#sendsDone = 0;
    this.#receivesDone = 0;
    this.sendCq.driver.strip(this.qpNum);
    if (this.recvCq !== this.sendCq) this.recvCq.driver.strip(this.qpNum);
  }

  // ---- requests as objects ----------------------------------------------------------------------------------------------

  /**
   * Posts requests, in order; the device is told once, after the last.
   * @throws VerbsError ENOMEM if the queue is full, EINVAL if a request does not fit the QP: then none of them was posted
   */
  postSend(...requests: readonly SendWr[]): void {
    this.#assertCanPost(
      this.#state === "RTS" || this.#state === "SQD" || this.#state === "SQE" || this.#state === "ERR",
      "sends",
    );
    this.wrStart();
    for (const wr of requests) this.#write(wr);
    const error = this.wrComplete();
    if (error === WrError.ENOMEM) {
      throw new VerbsError(
        "ENOMEM",
        `${this.label}: the send queue holds ${this.cap.maxSendWr} requests; poll ${this.sendCq.label} first`,
      );
    }
    if (error !== WrError.NONE) {
      const { maxSendSge, maxInlineData } = this.cap;
      throw new VerbsError(
        "EINVAL",
        `${this.label}: a request takes ${maxSendSge} SGEs or ${maxInlineData} bytes of inline data`,
      );
    }
  }

  /**
   * Posts requests to the receive queue.
   * @throws VerbsError ENOMEM if it is full, EINVAL if there are too many SGEs or the QP has an SRQ: the ones before were posted
   */
  postRecv(...requests: readonly RecvWr[]): void {
    this.#assertCanPost(this.#state !== "RESET", "receives");
    const receives = this.#receives;
    if (receives === undefined)
      throw new VerbsError("EINVAL", `${this.label} takes its receives from ${this.srq?.label}: post there`);
    for (const { wrId = 0, sgList = [] } of requests) {
      if (this.recvRoom === 0) {
        receives.publish();
        throw new VerbsError(
          "ENOMEM",
          `${this.label}: the receive queue holds ${this.cap.maxRecvWr} requests; poll ${this.recvCq.label} first`,
        );
      }
      this.#receiveIds[receives.posted & (receives.size - 1)] = wrId;
      receives.begin();
      for (const { addr, length, lkey } of sgList) receives.dataHalves(highOf(addr), lowOf(addr), length, lkey);
      if (!receives.end()) {
        receives.publish();
        throw new VerbsError("EINVAL", `${this.label}: a receive takes ${this.cap.maxRecvSge} SGEs, not ${sgList.length}`);
      }
    }
    receives.publish();
  }

  /**
   * Posts a request and waits for it.
   * @returns its completion
   * @throws VerbsError COMPLETION if it failed; ETIMEDOUT
   */
  async send(wr: SendWr, options: { timeoutMs?: number } = {}): Promise<WorkCompletion> {
    const wqe = this.#sends.offsetOf(this.#sends.posted);
    this.postSend({ ...wr, sendFlags: (wr.sendFlags ?? 0) | SendFlag.SIGNALED });
    return this.#completionOf(this.sendCq, true, wqe, wr.opcode, options);
  }

  /**
   * Posts a receive and waits until a message has come.
   * @throws VerbsError COMPLETION if it failed; ETIMEDOUT
   */
  async recv(wr: RecvWr, options: { timeoutMs?: number } = {}): Promise<WorkCompletion> {
    const wqe = this.#receives?.offsetOf(this.#receives.posted) ?? 0;
    this.postRecv(wr);
    return this.#completionOf(this.recvCq, false, wqe, "RECV", options);
  }

  async #completionOf(
    cq: CompletionQueue,
    isSend: boolean,
    wqe: number,
    what: string,
    options: { timeoutMs?: number },
  ): Promise<WorkCompletion> {
    const wc = await cq.waitFor(this.qpNum, isSend, wqe, { ...options, what: `${what} on ${this.label}` });
    if (wc.status === "SUCCESS") return wc;
    const { status, vendorErr } = wc;
    throw new VerbsError(
      "COMPLETION",
      `${what} on ${this.label}: ${status}${vendorErr === 0 ? "" : `, vendor error ${vendorErr}`}`,
    );
  }

  #assertCanPost(isAllowed: boolean, what: string): void {
    this.assertAlive(`to post ${what}`);
    if (!isAllowed) throw new VerbsError("EINVAL", `${this.label}: in state ${this.#state} no ${what} can be posted`);
  }

  #write(wr: SendWr): void {
    const { sendFlags = SendFlag.SIGNALED, inlineData, sgList = [] } = wr;
    this.wrId = wr.wrId ?? 0;
    this.wrFlags = sendFlags;
    this.#begin(deviceOpcodes[wr.opcode], "immData" in wr ? wr.immData : 0);
    const sends = this.#sends;
    if (this.qpType === "UD") this.#writeDatagram(wr);
    else if ("remoteAddr" in wr) sends.remoteHalves(highOf(wr.remoteAddr), lowOf(wr.remoteAddr), wr.rkey);
    if (wr.opcode === "ATOMIC_CMP_AND_SWP") {
      sends.atomic(highOf(wr.swap), lowOf(wr.swap), highOf(wr.compareAdd), lowOf(wr.compareAdd));
    } else if (wr.opcode === "ATOMIC_FETCH_AND_ADD") sends.atomic(highOf(wr.compareAdd), lowOf(wr.compareAdd), 0, 0);
    if (inlineData !== undefined) this.wrSetInlineData(inlineData);
    else if ((sendFlags & SendFlag.INLINE) !== 0) this.wrSetInlineData(this.#gather(sgList));
    else for (const { addr, length, lkey } of sgList) sends.dataHalves(highOf(addr), lowOf(addr), length, lkey);
  }

  #writeDatagram(wr: SendWr): void {
    if (!("ah" in wr) || wr.ah === undefined || wr.remoteQpn === undefined || wr.remoteQkey === undefined) {
      this.#wrError = WrError.EINVAL;
      return;
    }
    this.#sends.datagram(wr.ah.vector, wr.remoteQpn, wr.remoteQkey);
  }

  /** The bytes of a list, which must lie in memory of this context. */
  #gather(sgList: readonly Sge[]): Uint8Array {
    const { access } = this.pd.context.device;
    return Buffer.concat(
      sgList.map(({ addr, length }) => {
        const at = Number(addr) - access.dmaBase;
        return access.memory.bytes.subarray(at, at + length);
      }),
    );
  }

  // ---- requests field by field: ibv_wr_start, ibv_wr_rdma_write, … ------------------------------------------------------

  /** Begins a batch: any number of requests, then `wrComplete`. */
  wrStart(): void {
    this.#wrFirst = this.#sends.posted;
    this.#isWrOpen = false;
    this.#wrError = WrError.NONE;
  }

  wrSend(): void {
    this.#begin(SendOpcode.SEND, 0);
  }

  wrSendImm(immData: number): void {
    this.#begin(SendOpcode.SEND_IMM, immData);
  }

  wrRdmaWrite(rkey: number, remoteAddr: number): void {
    this.#begin(SendOpcode.RDMA_WRITE, 0);
    this.#sends.remote(remoteAddr, rkey);
  }

  wrRdmaWriteImm(rkey: number, remoteAddr: number, immData: number): void {
    this.#begin(SendOpcode.RDMA_WRITE_IMM, immData);
    this.#sends.remote(remoteAddr, rkey);
  }

  wrRdmaRead(rkey: number, remoteAddr: number): void {
    this.#begin(SendOpcode.RDMA_READ, 0);
    this.#sends.remote(remoteAddr, rkey);
  }

  /** The operands in halves, since 64 bits do not fit a number. */
  wrAtomicCmpSwp(rkey: number, remoteAddr: number, compareHi: number, compareLo: number, swapHi: number, swapLo: number): void {
    this.#begin(SendOpcode.ATOMIC_CS, 0);
    this.#sends.remote(remoteAddr, rkey);
    this.#sends.atomic(swapHi, swapLo, compareHi, compareLo);
  }

  wrAtomicFetchAdd(rkey: number, remoteAddr: number, addHi: number, addLo: number): void {
    this.#begin(SendOpcode.ATOMIC_FA, 0);
    this.#sends.remote(remoteAddr, rkey);
    this.#sends.atomic(addHi, addLo, 0, 0);
  }

  /** Where a datagram goes; before its data. */
  wrSetUdAddr(ah: AddressHandle, remoteQpn: number, remoteQkey: number): void {
    this.#sends.datagram(ah.vector, remoteQpn, remoteQkey);
  }

  /** One more SGE of the request begun last. */
  wrSetSge(lkey: number, addr: number, length: number): void {
    this.#sends.data(addr, length, lkey);
  }

  /** Data of the request begun last, copied now. */
  wrSetInlineData(data: Uint8Array): void {
    if (data.length > this.cap.maxInlineData) this.#wrError = WrError.EINVAL;
    else if (data.length > 0) this.#sends.inline(data);
  }

  /**
   * Posts the batch.
   * @returns 0; `WrError.ENOMEM` if it does not fit the queue, `WrError.EINVAL` if a request does not fit: then none was posted
   */
  wrComplete(): number {
    this.#end();
    const sends = this.#sends;
    if (this.#wrError !== WrError.NONE) {
      sends.posted = this.#wrFirst;
      return this.#wrError;
    }
    if (sends.posted === this.#wrFirst) return WrError.NONE;
    sends.publish();
    sends.ring();
    return WrError.NONE;
  }

  /** Forgets the batch. */
  wrAbort(): void {
    this.#sends.posted = this.#wrFirst;
    this.#isWrOpen = false;
  }

  /** Requests that the send queue takes before completions must be polled. */
  get sendRoom(): number {
    return this.#sends.size - ((this.#sends.posted - this.#sendsDone) & COUNTER_MASK);
  }

  /** The same for the receive queue; 0 with an SRQ. */
  get recvRoom(): number {
    const receives = this.#receives;
    return receives === undefined ? 0 : receives.size - ((receives.posted - this.#receivesDone) & COUNTER_MASK);
  }

  /**
   * Posts one receive of one piece.
   * @returns 0, or `WrError.ENOMEM` if the queue is full, `WrError.EINVAL` if there is none
   */
  postRecvSge(wrId: number, lkey: number, addr: number, length: number): number {
    const receives = this.#receives;
    if (receives === undefined) return WrError.EINVAL;
    if (this.recvRoom === 0) return WrError.ENOMEM;
    this.#receiveIds[receives.posted & (receives.size - 1)] = wrId;
    receives.begin();
    receives.data(addr, length, lkey);
    receives.end();
    receives.publish();
    return WrError.NONE;
  }

  #begin(opcode: number, immediate: number): void {
    this.#end();
    if (this.#wrError !== WrError.NONE) return;
    if (this.sendRoom === 0) {
      this.#wrError = WrError.ENOMEM;
      return;
    }
    const sends = this.#sends;
    this.#sendIds[sends.posted & (sends.size - 1)] = this.wrId;
    const flags = this.wrFlags;
    const control =
      SendControl.ALWAYS |
      ((flags & SendFlag.SIGNALED) !== 0 ? SendControl.SIGNALED : 0) |
      ((flags & SendFlag.SOLICITED) !== 0 ? SendControl.SOLICITED : 0);
    sends.begin(opcode, control, immediate, (flags & SendFlag.FENCE) !== 0);
    this.#isWrOpen = true;
  }

  #end(): void {
    if (!this.#isWrOpen) return;
    this.#isWrOpen = false;
    if (!this.#sends.end() && this.#wrError === WrError.NONE) this.#wrError = WrError.EINVAL;
  }

  // ---- completions ------------------------------------------------------------------------------------------------------

  /** @internal A send has completed, and with it all before it. Returns its wrId. */
  completeSend(wqe: number): number {
    const slot = this.#sends.slotOf(wqe);
    const { size } = this.#sends;
    this.#sendsDone = (this.#sendsDone + ((slot - this.#sendsDone) & (size - 1)) + 1) & COUNTER_MASK;
    return this.#sendIds[slot] as number;
  }

  /** @internal A receive has completed. Returns its wrId. */
  completeReceive(wqe: number): number {
    if (this.srq !== undefined) return this.srq.complete(wqe);
    this.#receivesDone = (this.#receivesDone + 1) & COUNTER_MASK;
    return this.#receiveIds[this.#receives?.slotOf(wqe) ?? 0] as number;
  }

  // ---- multicast --------------------------------------------------------------------------------------------------------

  /**
   * Receives what is sent to a multicast group (UD only). The port must have joined the group at the subnet administration.
   * @param mgid 16 bytes
   */
  attachMcast(mgid: Uint8Array): void {
    if (this.qpType !== "UD") throw new VerbsError("EINVAL", `${this.label}: only UD QPs take multicast`);
    asVerb(() => this.pd.context.device.multicast.attach(mgid, this.qpNum));
  }

  /** Ends that. */
  detachMcast(mgid: Uint8Array): void {
    asVerb(() => this.pd.context.device.multicast.detach(mgid, this.qpNum));
  }

  protected release(): void {
    asVerb(() => this.#qp.destroy());
    this.#forgetRequests();
    this.sendCq.forget(this);
    this.recvCq.forget(this);
    this.pd.context.qps.delete(this.qpNum);
  }
}

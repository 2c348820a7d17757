// A client of the subnet administration: requests over QP1, sent again while no answer comes. IBA vol 1, 15.2, 15.4;
// transactions: 13.4.6.3, 13.5.1.1.

import { NS_PER_MS } from "../base/clock.ts";
import { hex, nameOf } from "../base/names.ts";
import type { Random } from "../base/random.ts";
import { MadHeader, SA_DATA_AT, SaHeader } from "../spec/mad/headers.ts";
import { MAD_BASE_VERSION, MAD_BYTES, MadStatus, Method, MgmtClass, SA_CLASS_VERSION, SaStatus } from "../spec/mad/numbers.ts";
import { VerbsError, type VerbsErrorCode } from "./error.ts";
import type { GeneralMads, MadDestination, MadSource } from "./general-mads.ts";
import type { Timer, Timers } from "./timers.ts";

/** First wait for an answer; it doubles each time. */
const FIRST_WAIT_MS = 250;
/** Times a request is sent in all: 250 ms to 4 s, 7.75 s together. */
const TRIES = 5;
const METHOD_MASK = 0x7f;

/** One question. */
export interface SaRequest {
  /** For errors: "PathRecord to GID fe80::1". */
  readonly what: string;
  readonly method: number;
  readonly attribute: number;
  /** Which components of the record are given, by bit number (`PathComponent`, `McComponent`). */
  readonly components: readonly number[];
  readonly record: DataView;
}

interface Transaction {
  readonly mad: DataView;
  readonly to: MadDestination;
  readonly done: (reply: DataView | undefined) => void;
  tries: number;
  timer: Timer | undefined;
}

export interface SaCounts {
  sent: number;
  retried: number;
  timedOut: number;
  /** Answers to no question, or from somebody who was not asked. */
  unmatched: number;
}

/** What the client needs of its context. */
export interface SaHost {
  readonly mads: GeneralMads;
  readonly timers: Timers;
  readonly random: Random;
  /** Where the subnet's manager is. */
  manager(): MadDestination;
  until<T>(test: () => T | undefined, options: { what: string }): Promise<T>;
}

export class SaClient {
  readonly counts: SaCounts = { sent: 0, retried: 0, timedOut: 0, unmatched: 0 };
  readonly #host: SaHost;
  readonly #outstanding = new Map<number, Transaction>();
  readonly #tidHi: number;
  #nextTid: number;

  constructor(host: SaHost) {
    this.#host = host;
    this.#tidHi = host.random.u32();
    this.#nextTid = host.random.u32();
    host.mads.handle(MgmtClass.SUBN_ADM, [Method.GET_RESP, Method.DELETE_RESP], (mad, from) => this.#receive(mad, from));
  }

  /**
   * Asks and waits for the answer.
   * @returns the record in it
   * @throws VerbsError ETIMEDOUT if nobody answers, or what the administration's status means
   */
  async request(request: SaRequest): Promise<DataView> {
    const { what } = request;
    let answer: { readonly reply: DataView | undefined } | undefined;
    const tid = this.#start(request, (reply) => {
      answer = { reply };
    });
    try {
      const { reply } = await this.#host.until(() => answer, { what: `the subnet administration's answer: ${what}` });
      if (reply === undefined) {
        throw new VerbsError("ETIMEDOUT", `${what}: the subnet administration has not answered ${TRIES} times`);
      }
      const status = MadHeader.status.get(reply, 0);
      if (status !== MadStatus.OK) throw refusal(what, status);
      return new DataView(reply.buffer, reply.byteOffset + SA_DATA_AT, MAD_BYTES - SA_DATA_AT);
    } finally {
      this.#forget(tid);
    }
  }

  #start({ method, attribute, components, record }: SaRequest, done: Transaction["done"]): number {
    const tid = this.#nextTid;
    this.#nextTid = (tid + 1) >>> 0;
    const mad = new DataView(new ArrayBuffer(MAD_BYTES));
    MadHeader.baseVersion.set(mad, 0, MAD_BASE_VERSION);
    MadHeader.mgmtClass.set(mad, 0, MgmtClass.SUBN_ADM);
    MadHeader.classVersion.set(mad, 0, SA_CLASS_VERSION);
    MadHeader.method.set(mad, 0, method);
    MadHeader.tid.hi.set(mad, 0, this.#tidHi);
    MadHeader.tid.lo.set(mad, 0, tid);
    MadHeader.attributeId.set(mad, 0, attribute);
    SaHeader.componentMask.setBig(mad, 0, maskOf(components));
    new Uint8Array(mad.buffer, SA_DATA_AT).set(new Uint8Array(record.buffer, record.byteOffset, record.byteLength));
    const transaction: Transaction = { mad, to: this.#host.manager(), done, tries: 0, timer: undefined };
    this.#outstanding.set(tid, transaction);
    this.#transmit(tid, transaction);
    return tid;
  }

  #transmit(tid: number, transaction: Transaction): void {
    const waitMs = FIRST_WAIT_MS * 2 ** transaction.tries;
    transaction.tries++;
    this.counts.sent++;
    this.#host.mads.send(transaction.mad, transaction.to);
    transaction.timer = this.#host.timers.start(waitMs * NS_PER_MS, () => this.#timeOut(tid, transaction));
  }

  #timeOut(tid: number, transaction: Transaction): void {
    if (transaction.tries < TRIES) {
      this.counts.retried++;
      this.#transmit(tid, transaction);
      return;
    }
    this.counts.timedOut++;
    this.#forget(tid);
    transaction.done(undefined);
  }

  #forget(tid: number): void {
    this.#host.timers.stop(this.#outstanding.get(tid)?.timer);
    this.#outstanding.delete(tid);
  }

  #receive(mad: DataView, from: MadSource): void {
    const tid = MadHeader.tid.lo.get(mad, 0);
    const transaction = this.#outstanding.get(tid);
    if (transaction === undefined || from.slid !== transaction.to.dlid || !answers(mad, transaction.mad)) {
      this.counts.unmatched++;
      return;
    }
    // Busy: it will be asked again when the time is up.
    if (MadHeader.status.get(mad, 0) === MadStatus.BUSY) return;
    this.#forget(tid);
    transaction.done(mad);
  }
}

/** Whether a MAD whose low transaction id fits is the answer indeed. Set is answered by GetResp (13.4.5). */
function answers(mad: DataView, request: DataView): boolean {
  const method = MadHeader.method.get(request, 0);
  return (
    MadHeader.tid.hi.get(mad, 0) === MadHeader.tid.hi.get(request, 0) &&
    MadHeader.attributeId.get(mad, 0) === MadHeader.attributeId.get(request, 0) &&
    (MadHeader.method.get(mad, 0) & METHOD_MASK) === (method === Method.SET ? Method.GET : method)
  );
}

const maskOf = (components: readonly number[]): bigint => components.reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);

const codes: Readonly<Record<number, VerbsErrorCode>> = {
  [SaStatus.NO_RESOURCES]: "ENOMEM",
  [SaStatus.NO_RECORDS]: "EHOSTUNREACH",
  [SaStatus.REQ_INVALID_GID]: "EHOSTUNREACH",
  [SaStatus.REQ_INVALID]: "EINVAL",
  [SaStatus.REQ_INSUFFICIENT_COMPONENTS]: "EINVAL",
  [SaStatus.TOO_MANY_RECORDS]: "EINVAL",
  [MadStatus.UNSUPPORTED_METHOD]: "ENOSYS",
  [MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE]: "ENOSYS",
};

function refusal(what: string, status: number): VerbsError {
  const name = nameOf({ ...MadStatus, ...SaStatus }, status);
  const text = name.startsWith("0x") ? `status ${hex(status, 4)}` : `${name} (status ${hex(status, 4)})`;
  return new VerbsError(codes[status] ?? "EIO", `${what}: the subnet administration answered ${text}`);
}

// The manager's SMPs: Get and Set along directed routes.

import { bytesOf, newMad, writeDirectedSmp } from "../mad/mad.ts";
import { DIRECTED_ROUTE, type MadPacket } from "../mad/packet.ts";
import type { Transactions } from "../mad/transactions.ts";
import { SMP_DATA_AT, SMP_DATA_BYTES, SMP_MAX_HOPS, Smp } from "../spec/mad/headers.ts";
import { MadStatus, Method } from "../spec/mad/numbers.ts";

/** Groups of requests, to know when a stage is through but for slow nodes. */
export const SmpGroup = { DISCOVERY: 0, TABLES: 1, PORTS: 2 } as const;

/** The attribute of a response (64 bytes, valid during the call), or undefined: no answer, or an error status (`isRefused`). */
export type SmpDone = (data: DataView | undefined, nowNs: number, isRefused?: boolean) => void;

/** Where an SMP goes: nodes and ports of the subnet are such. */
export interface SmpTarget {
  /** Directed route: output ports, hop by hop. */
  readonly path: readonly number[];
  /** Node GUID, by which its M_Key is known; undefined while nobody knows who is there. */
  readonly nodeGuid: bigint | undefined;
}

export class SmpClient {
  readonly #transactions: Transactions;
  readonly #mkeyOf: (nodeGuid: bigint) => bigint;
  /** Called with the time of every Set, and of every answer to one. */
  onSet: (nowNs: number) => void = () => {};
  /** The SMP that is being sent. */
  readonly #smp: DataView = newMad();
  readonly #smpBytes: Uint8Array = bytesOf(this.#smp);
  /** Responses with an error status. */
  refused = 0;

  /** @param mkeyOf M_Key of a node, which every SMP to it carries */
  constructor(transactions: Transactions, mkeyOf: (nodeGuid: bigint) => bigint) {
    this.#transactions = transactions;
    this.#mkeyOf = mkeyOf;
  }

  /** Whether another request of `group` would be sent soon. Those that have timed out once do not count: a silent node holds up nobody. */
  hasRoom(group: number): boolean {
    return this.#transactions.freshCount(group) < this.#transactions.maxOutstanding;
  }

  get(to: SmpTarget, group: number, attribute: number, modifier: number, nowNs: number, done: SmpDone): void {
    this.#request(to, group, Method.GET, attribute, modifier, undefined, nowNs, done);
  }

  /** @param data the attribute, at most 64 bytes, not to be changed any more; or what gives it whenever it is sent. */
  set(
    to: SmpTarget,
    group: number,
    attribute: number,
    modifier: number,
    data: Uint8Array | (() => Uint8Array),
    nowNs: number,
    done: SmpDone,
  ): void {
    this.onSet(nowNs);
    this.#request(to, group, Method.SET, attribute, modifier, data, nowNs, (answer, now) => {
      this.onSet(now);
      done(answer, now);
    });
  }

  #request(
    to: SmpTarget,
    group: number,
    method: number,
    attribute: number,
    modifier: number,
    data: Uint8Array | (() => Uint8Array) | undefined,
    nowNs: number,
    done: SmpDone,
  ): void {
    const { path, nodeGuid } = to;
    if (path.length > SMP_MAX_HOPS) {
      done(undefined, nowNs);
      return;
    }
    const mad = (): DataView => {
      this.#smpBytes.fill(0);
      writeDirectedSmp(this.#smp, path, method, attribute, modifier);
      if (nodeGuid !== undefined) Smp.mkey.setBig(this.#smp, 0, this.#mkeyOf(nodeGuid));
      const bytes = typeof data === "function" ? data() : data;
      if (bytes !== undefined) this.#smpBytes.set(bytes.subarray(0, SMP_DATA_BYTES), SMP_DATA_AT);
      return this.#smp;
    };
    const onDone = (reply: MadPacket | undefined, now: number): void => {
      const answer = this.#dataOf(reply);
      done(answer, now, reply !== undefined && answer === undefined);
    };
    this.#transactions.submit({ mad, address: DIRECTED_ROUTE, group, onDone }, nowNs);
  }

  #dataOf(reply: MadPacket | undefined): DataView | undefined {
    if (reply === undefined) return undefined;
    if (Smp.status.get(reply.view, reply.madAt) !== MadStatus.OK) {
      this.refused++;
      return undefined;
    }
    return new DataView(reply.view.buffer, reply.view.byteOffset + reply.madAt + SMP_DATA_AT, SMP_DATA_BYTES);
  }
}

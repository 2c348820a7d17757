// One event queue: writes EQEs and says when its interrupt is due. Docs "infinihost" 4.4, 5.8, 5.9.

import type { Memory } from "../base/bytes.ts";
import { publishWord } from "../base/bytes.ts";
import { Access, EQ_INTR_MSIX, EQ_INTR_VECTOR_MASK } from "../spec/hca/contexts.ts";
import { EQE_BYTES } from "../spec/hca/queues.ts";
import type { Adapter } from "../transport/adapter.ts";
import { QueueBuffer } from "../transport/memory.ts";

const EQE_SHIFT = 5;
/** Events kept back while the driver's queue is full; more are lost and counted. */
export const PENDING_EVENTS_MAX = 4096;

/** What became of an event. */
export const Posted = {
  /** Written, or kept until there is room. */
  OK: 0,
  /** Too many are waiting already. */
  LOST: 1,
  /** The queue's memory is not there: its driver can no longer be told anything. */
  FAULT: 2,
} as const;

export class EventQueue {
  readonly number: number;
  readonly logSize: number;
  readonly intr: number;
  producer = 0;
  /** Consumer index as the driver last wrote it. */
  consumer = 0;
  isArmed = true;
  readonly #buffer: QueueBuffer;
  /** EQEs that did not fit, oldest first. */
  readonly #pending: Int32Array[] = [];

  constructor(
    adapter: Adapter,
    fields: { number: number; logSize: number; intr: number; pd: number; lkey: number; startHi: number; startLo: number },
  ) {
    this.number = fields.number;
    this.logSize = fields.logSize;
    this.intr = fields.intr;
    this.#buffer = new QueueBuffer(
      adapter.regions,
      adapter.noMemory,
      fields.lkey,
      fields.pd,
      Access.LOCAL_WRITE,
      fields.startHi,
      fields.startLo,
    );
  }

  get usesMsix(): boolean {
    return (this.intr & (EQ_INTR_MSIX | 0x40)) === EQ_INTR_MSIX;
  }

  get vector(): number {
    return this.intr & EQ_INTR_VECTOR_MASK;
  }

  get isFull(): boolean {
    return ((this.producer - this.consumer) | 0) >= 1 << this.logSize;
  }

  get pendingEvents(): number {
    return this.#pending.length;
  }

  /**
   * Writes one EQE whose last dword holds the owner byte. Dwords are in the order and byte order of 5.8.
   * @returns `Posted`
   */
  post(d0: number, d1: number, d2: number, d3: number, d4: number, d5: number): number {
    if (this.isFull || this.#pending.length > 0) {
      if (this.#pending.length >= PENDING_EVENTS_MAX) return Posted.LOST;
      this.#pending.push(Int32Array.of(d0, d1, d2, d3, d4, d5));
      return Posted.OK;
    }
    return this.#write(d0, d1, d2, d3, d4, d5) ? Posted.OK : Posted.FAULT;
  }

  /** Writes what was kept back, as far as there is room. Returns how many, or -1 if the queue's memory is not there. */
  flushPending(): number {
    let count = 0;
    while (this.#pending.length > 0 && !this.isFull) {
      const [d0 = 0, d1 = 0, d2 = 0, d3 = 0, d4 = 0, d5 = 0] = this.#pending.shift() ?? [];
      if (!this.#write(d0, d1, d2, d3, d4, d5)) return -1;
      count++;
    }
    return count;
  }

  #write(d0: number, d1: number, d2: number, d3: number, d4: number, d5: number): boolean {
    const index = this.producer & ((1 << this.logSize) - 1);
    if (!this.#buffer.locate(index << EQE_SHIFT, EQE_BYTES)) return false;
    const memory: Memory = this.#buffer.memory;
    const at = this.#buffer.at;
    const view = memory.view;
    view.setInt32(at, d0, false);
    view.setInt32(at + 4, d1, false);
    view.setInt32(at + 8, d2, false);
    view.setInt32(at + 12, d3, false);
    view.setInt32(at + 16, d4, false);
    view.setInt32(at + 20, d5, false);
    view.setInt32(at + 24, 0, false);
    // Owner = software; the last store hands the entry over.
    publishWord(memory, at + 28, 0);
    this.producer = (this.producer + 1) | 0;
    return true;
  }
}

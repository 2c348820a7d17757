// A shared receive queue: a list of WQEs that its QPs take from. Docs "infinihost" 4.3, 5.4; IBA vol 1, 10.2.9.

import { Access } from "../spec/hca/contexts.ts";
import { WQE_NEXT_BYTES } from "../spec/hca/queues.ts";
import type { Adapter } from "./adapter.ts";
import { AdapterCounter } from "./counters.ts";
import type { DoorbellRecord } from "./doorbell-record.ts";
import { QueueBuffer } from "./memory.ts";
import type { ScatterList } from "./scatter-list.ts";

const LINK_MASK = ~0x3f;

export class SharedReceiveQueue {
  readonly number: number;
  readonly adapter: Adapter;
  readonly uar: number;
  readonly pd: number;
  readonly logSize: number;
  readonly logStride: number;
  readonly lkey: number;
  readonly record: DoorbellRecord;
  readonly recordIndex: number;
  /** Event when fewer WQEs than this are left; 0 = off. */
  limit = 0;
  isBroken = false;
  /** WQEs taken so far, modulo 2^16. */
  consumed = 0;
  /** Where the WQE taken last lies, and its syndrome if it could not be read. */
  takenOffset = 0;
  /** QPs that take from it. */
  userCount = 0;
  readonly #buffer: QueueBuffer;
  #next = 0;

  constructor(
    adapter: Adapter,
    fields: {
      number: number;
      uar: number;
      pd: number;
      logSize: number;
      logStride: number;
      lkey: number;
      record: DoorbellRecord;
      recordIndex: number;
      baseHi: number;
      firstOffset: number;
    },
  ) {
    this.adapter = adapter;
    this.number = fields.number;
    this.uar = fields.uar;
    this.pd = fields.pd;
    this.logSize = fields.logSize;
    this.logStride = fields.logStride;
    this.lkey = fields.lkey;
    this.record = fields.record;
    this.recordIndex = fields.recordIndex;
    this.#next = fields.firstOffset;
    this.#buffer = new QueueBuffer(adapter.regions, adapter.noMemory, fields.lkey, fields.pd, Access.LOCAL_READ, fields.baseHi);
  }

  /** Posted WQEs that nobody has taken. */
  get available(): number {
    return (this.record.counter(this.consumed) - this.consumed) & 0xffff;
  }

  /** Where the WQEs lie, for looking at them. */
  get buffer(): QueueBuffer {
    return this.#buffer;
  }

  /** MR offset of the WQE that is next in list order. */
  get nextOffset(): number {
    return this.#next;
  }

  /**
   * Takes the next WQE in list order and decodes its segments into `list`.
   * @returns -1 if there is none, else 0 or a syndrome; `takenOffset` names the WQE.
   */
  take(list: ScatterList): number {
    if (this.isBroken || this.available === 0) return -1;
    const stride = 1 << this.logStride;
    const offset = this.#next;
    // The link came from guest memory: it must name a slot of this queue.
    if ((offset & (stride - 1)) !== 0 || offset >>> 0 >= stride << this.logSize || !this.#buffer.locate(offset, stride)) {
      this.#fail();
      return -1;
    }
    const { memory, at } = this.#buffer;
    this.#next = memory.view.getInt32(at, false) & LINK_MASK;
    this.consumed = (this.consumed + 1) & 0xffff;
    this.takenOffset = offset;
    const status = list.decodeReceive(memory, at + WQE_NEXT_BYTES, at + stride);
    if (this.limit !== 0 && this.available < this.limit) {
      this.limit = 0;
      this.adapter.events.srqLimit(this.number);
    }
    return status;
  }

  /** Takes back the WQE that `take` has handed out last; nothing may have been taken since. */
  giveBack(): void {
    this.#next = this.takenOffset;
    this.consumed = (this.consumed - 1) & 0xffff;
  }

  #fail(): void {
    this.isBroken = true;
    this.adapter.counters[AdapterCounter.srqErrors]! += 1;
    this.adapter.events.srqCatastrophic(this.number);
    for (const qp of this.adapter.qps.values()) if (qp.setup.srq === this) qp.srqFailed();
  }
}

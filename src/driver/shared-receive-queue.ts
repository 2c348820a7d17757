// The driver's side of a shared receive queue: a free list threaded through the WQEs. Docs "infinihost" 4.3, 5.4.

import { Command } from "../spec/hca/commands.ts";
import { SrqContext } from "../spec/hca/contexts.ts";
import { DATA_SEGMENT_BYTES, DataSegment, INVALID_LKEY, WQE_NEXT_BYTES } from "../spec/hca/queues.ts";
import { DbRecordType, WqDbRecord } from "../spec/hca/registers.ts";
import { DriverError } from "./access.ts";
import type { DoorbellRecordSlot } from "./context-memory.ts";
import type { Device } from "./device.ts";
import { Region } from "./memory-region.ts";
import type { Sge } from "./queue-pair.ts";

const LINK_VALID = 1;

export class DriverSharedReceiveQueue {
  readonly number: number;
  readonly logStride: number;
  readonly #device: Device;
  readonly region: Region;
  readonly record: DoorbellRecordSlot;
  readonly #size: number;
  #posted = 0;
  /** Free slots as a list: taken at the head, given back at the tail. */
  readonly #free: number[];

  constructor(device: Device, options: { pd: number; wqes: number; sges: number }) {
    this.#device = device;
    this.#size = 2 ** Math.ceil(Math.log2(options.wqes + 1));
    this.logStride = Math.max(6, Math.ceil(Math.log2(WQE_NEXT_BYTES + options.sges * DATA_SEGMENT_BYTES)));
    const block = device.heap.allocate(this.#size << this.logStride);
    this.region = new Region(device, block, { pd: options.pd, access: 0, virtualAddress: 0n });
    this.record = device.icm.allocateRecord(device.uar, false);
    this.number = device.srqNumbers.allocate();
    const { view } = device.access.memory;
    for (let i = 0; i < this.#size; i++) this.#link(i, i + 1 < this.#size ? i + 1 : undefined);
    this.#free = Array.from({ length: this.#size }, (_, i) => i);
    view.setUint32(this.record.at + 4, ((this.number << 8) | (DbRecordType.SRQ << 5)) >>> 0);
    device.commands.run(Command.SW2HW_SRQ, {
      modifier: this.number,
      input: (_view, at) => {
        SrqContext.logSize.set(view, at, Math.log2(this.#size));
        SrqContext.srqn.set(view, at, this.number);
        SrqContext.lkey.set(view, at, this.region.lkey);
        SrqContext.record.set(view, at, this.record.index);
        SrqContext.logStride.set(view, at, this.logStride - 4);
        SrqContext.usrPage.set(view, at, device.uar);
        SrqContext.pd.set(view, at, options.pd);
      },
    });
  }

  /** Posts one receive WQE; returns its address, as its completion will name it. One WQE always stays free. */
  postReceive(sges: readonly Sge[]): number {
    if (this.#free.length <= 1) throw new DriverError("ENOMEM", `SRQ ${this.number}: full`);
    const slot = this.#free.shift()!;
    const { view } = this.#device.access.memory;
    const offset = slot << this.logStride;
    const at = this.region.block.at + offset;
    view.setUint32(at + 4, 0);
    const capacity = ((1 << this.logStride) - WQE_NEXT_BYTES) / DATA_SEGMENT_BYTES;
    for (let i = 0; i < capacity; i++) writeSge(view, at + WQE_NEXT_BYTES + i * DATA_SEGMENT_BYTES, sges[i]);
    this.#posted = (this.#posted + 1) & 0xffff;
    WqDbRecord.counter.set(view, this.record.at, this.#posted);
    return offset;
  }

  /** Slots; one of them always stays free. */
  get size(): number {
    return this.#size;
  }

  /** WQEs it takes. */
  get capacity(): number {
    return this.#size - 1;
  }

  /** Slot of the WQE that a completion names. */
  slotOf(offset: number): number {
    return (offset >>> this.logStride) & (this.#size - 1);
  }

  /** Where the WQE at `offset` of the queue lies in the driver's memory. */
  slotAt(offset: number): number {
    return this.region.block.at + offset;
  }

  /** Gives a completed WQE back, at the tail of the list. */
  recycle(offset: number): void {
    const slot = offset >>> this.logStride;
    this.#link(this.#free[this.#free.length - 1]!, slot);
    this.#free.push(slot);
  }

  /** Asks for an event when fewer than `limit` WQEs are left. */
  armLimit(limit: number): void {
    this.#device.commands.run(Command.ARM_SRQ, { modifier: this.number, inputValue: { hi: 0, lo: limit } });
  }

  /** The limit in force, and how many WQEs are posted. */
  query(): { limit: number; available: number } {
    const { output } = this.#device.commands.run(Command.QUERY_SRQ, {
      modifier: this.number,
      outputBytes: SrqContext.byteLength,
    });
    return { limit: SrqContext.limitWatermark.get(output, 0), available: SrqContext.wqeCount.get(output, 0) };
  }

  destroy(): void {
    this.#device.commands.run(Command.HW2SW_SRQ, { modifier: this.number, outputBytes: SrqContext.byteLength });
    this.#device.icm.freeRecord(this.record);
    this.#device.srqNumbers.free(this.number);
    this.region.deregister();
    this.#device.heap.free(this.region.block);
  }

  #link(slot: number, next: number | undefined): void {
    const at = this.region.block.at + (slot << this.logStride);
    this.#device.access.memory.view.setUint32(at, next === undefined ? 0 : (next << this.logStride) | LINK_VALID);
  }
}

/** Writes one data segment, or the end marker where there is none. */
export function writeSge(view: DataView, at: number, sge: Sge | undefined): void {
  view.setUint32(at, sge?.length ?? 0, false);
  DataSegment.lkey.set(view, at, sge?.lkey ?? INVALID_LKEY);
  DataSegment.address.setBig(view, at, sge?.address ?? 0n);
}

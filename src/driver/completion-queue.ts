// The driver's side of a completion queue. Docs "infinihost" 4.2, 5.6, 5.7.

import { type Memory, publishWord, storeBig32, swap32 } from "../base/bytes.ts";
import { Command, ResizeCq } from "../spec/hca/commands.ts";
import { Access, CqContext } from "../spec/hca/contexts.ts";
import { CQE_BYTES, Cqe, CqeError, CqeErrorOpcode } from "../spec/hca/queues.ts";
import { CqArm, DbRecordType, UarDoorbell } from "../spec/hca/registers.ts";
import type { DoorbellRecordSlot } from "./context-memory.ts";
import type { Device } from "./device.ts";
import { Region } from "./memory-region.ts";

const OWNER_AT = 31;
const HARDWARE_OWNED = 0x80;
/** The owner byte is the highest of the entry's last dword in host order. */
const LAST_WORD_AT = 28;
const HARDWARE_OWNED_WORD = HARDWARE_OWNED << 24;

/** One work completion. */
export interface Completion {
  qpn: number;
  isSend: boolean;
  /** Send opcode, or BTH opcode of the last packet received. */
  opcode: number;
  /** 0, or the syndrome of an error completion. */
  syndrome: number;
  byteCount: number;
  immediate: number;
  wqe: number;
  remoteQpn: number;
  rlid: number;
  sl: number;
  hasGrh: boolean;
}

export class DriverCompletionQueue {
  readonly number: number;
  readonly uar: number;
  /** Completion events seen. */
  events = 0;
  /** Called for each event, from the interrupt handler: note it and return. */
  onEvent: () => void = () => {};
  /** The memory that holds the entries, and where the one that `peek` found lies in it. */
  readonly view: DataView;
  at = 0;
  readonly #device: Device;
  readonly #memory: Memory;
  readonly #words: Int32Array;
  readonly #pd: number;
  readonly #ci: DoorbellRecordSlot;
  readonly armRecord: DoorbellRecordSlot;
  /** The buffer's region; another one after a resize. */
  region: Region;
  #size: number;
  #consumer = 0;
  #armSequence = 1;

  constructor(device: Device, entries: number, pd: number) {
    this.#device = device;
    this.#memory = device.access.memory;
    this.view = this.#memory.view;
    this.#words = this.#memory.words;
    this.#pd = pd;
    this.uar = device.uar;
    this.#size = 2 ** Math.ceil(Math.log2(entries + 1));
    this.region = this.#newBuffer(this.#size);
    this.#ci = device.icm.allocateRecord(this.uar, false);
    this.armRecord = device.icm.allocateRecord(this.uar, true);
    this.number = device.cqNumbers.allocate();
    const { view } = device.access.memory;
    view.setUint32(this.#ci.at + 4, ((this.number << 8) | (DbRecordType.CQ_CI << 5)) >>> 0);
    view.setUint32(this.armRecord.at + 4, ((this.number << 8) | (DbRecordType.CQ_ARM << 5)) >>> 0);
    device.commands.run(Command.SW2HW_CQ, {
      modifier: this.number,
      input: (_view, at) => {
        CqContext.translation.set(view, at, 1);
        CqContext.logSize.set(view, at, Math.log2(this.#size));
        CqContext.usrPage.set(view, at, this.uar);
        CqContext.completionEqn.set(view, at, device.completionEqn);
        CqContext.pd.set(view, at, pd);
        CqContext.lkey.set(view, at, this.region.lkey);
        CqContext.cqn.set(view, at, this.number);
        CqContext.ciRecord.set(view, at, this.#ci.index);
        CqContext.armRecord.set(view, at, this.armRecord.index);
      },
    });
    device.cqs.set(this.number, this);
  }

  /**
   * Looks for the oldest completion; if there is one, `view` and `at` show it until `next` or `done`. Allocates nothing. Whoever
   * has taken some calls `done`.
   */
  peek(): boolean {
    const at = this.region.block.at + (this.#consumer & (this.#size - 1)) * CQE_BYTES;
    this.at = at;
    // Not a plain load: a loop that waits here must look again each time.
    return (Atomics.load(this.#words, (at + LAST_WORD_AT) >> 2) & HARDWARE_OWNED_WORD) === 0;
  }

  /** Gives the entry that `peek` found back to the device. */
  take(): void {
    this.#memory.bytes[this.at + OWNER_AT] = HARDWARE_OWNED;
    this.#consumer = (this.#consumer + 1) >>> 0;
  }

  /** Publishes the consumer index: the device may use the places of what was taken. */
  done(): void {
    publishWord(this.#memory, this.#ci.at, swap32(this.#consumer));
  }

  /** Takes at most `limit` completions, oldest first, and publishes the consumer index. */
  poll(limit = Number.POSITIVE_INFINITY): Completion[] {
    const completions: Completion[] = [];
    while (completions.length < limit && this.peek()) {
      completions.push(decodeCompletion(this.view, this.at));
      this.take();
    }
    if (completions.length > 0) this.done();
    return completions;
  }

  /** Asks for an event at the next (or next solicited) completion. */
  arm(solicitedOnly = false): void {
    const { memory } = this.#device.access;
    const command = solicitedOnly ? CqArm.SOLICITED : CqArm.NEXT;
    const sequence = this.#armSequence & 3;
    const { at } = this.armRecord;
    storeBig32(memory, at, this.#consumer);
    // One store: a new sequence number beside the old command would be taken for a request of its own (5.7).
    const second = (this.number << 8) | (DbRecordType.CQ_ARM << 5) | (sequence << 3) | command;
    publishWord(memory, at + 4, swap32(second));
    const hi = ((sequence << 28) | (command << 24) | this.number) >>> 0;
    this.#device.access.writeDoorbell(this.uar, UarDoorbell.CQ, hi, this.#consumer);
  }

  /** The completion EQ's handler reports an event here. */
  noteEvent(): void {
    this.events++;
    this.#armSequence++;
    this.onEvent();
  }

  /** Moves to a buffer of at least `entries`; completions not yet polled are kept. */
  resize(entries: number): void {
    const size = 2 ** Math.ceil(Math.log2(entries + 1));
    const region = this.#newBuffer(size);
    this.#device.commands.run(Command.RESIZE_CQ, {
      modifier: this.number,
      opcodeModifier: 1,
      input: (view, at) => {
        ResizeCq.logSize.set(view, at, Math.log2(size));
        ResizeCq.lkey.set(view, at, region.lkey);
      },
    });
    this.#copyLeft(region, size);
    this.#release();
    this.region = region;
    this.#size = size;
  }

  /** Entries it holds. */
  get capacity(): number {
    return this.#size - 1;
  }

  /** Takes out the completions of a QP that has gone (4.1.5): the others move up to the newest place. */
  strip(qpn: number): void {
    const { bytes } = this.#memory;
    const entryAt = (index: number): number => this.region.block.at + (index & (this.#size - 1)) * CQE_BYTES;
    let end = this.#consumer;
    while (end - this.#consumer < this.#size && (bytes[entryAt(end) + OWNER_AT]! & HARDWARE_OWNED) === 0) end++;
    let target = end;
    for (let i = end - 1; i >= this.#consumer; i--) {
      const from = entryAt(i);
      if (Cqe.qpn.get(this.view, from) === qpn) continue;
      target--;
      if (target !== i) bytes.copy(bytes, entryAt(target), from, from + CQE_BYTES);
    }
    if (target === this.#consumer) return;
    for (let i = this.#consumer; i < target; i++) bytes[entryAt(i) + OWNER_AT] = HARDWARE_OWNED;
    this.#consumer = target >>> 0;
    this.done();
  }

  destroy(): void {
    this.#device.commands.run(Command.HW2SW_CQ, { modifier: this.number, outputBytes: CqContext.byteLength });
    this.#device.cqs.delete(this.number);
    this.#device.icm.freeRecord(this.#ci);
    this.#device.icm.freeRecord(this.armRecord);
    this.#device.cqNumbers.free(this.number);
    this.#release();
  }

  #copyLeft(region: Region, size: number): void {
    const { bytes } = this.#device.access.memory;
    for (let i = this.#consumer; ; i++) {
      const from = this.region.block.at + (i % this.#size) * CQE_BYTES;
      if ((bytes[from + OWNER_AT]! & HARDWARE_OWNED) !== 0) return;
      bytes.copy(bytes, region.block.at + (i % size) * CQE_BYTES, from, from + CQE_BYTES);
    }
  }

  #newBuffer(size: number): Region {
    const { heap, access } = this.#device;
    const block = heap.allocate(size * CQE_BYTES);
    for (let i = 0; i < size; i++) access.memory.bytes[block.at + i * CQE_BYTES + OWNER_AT] = HARDWARE_OWNED;
    return new Region(this.#device, block, { pd: this.#pd, access: Access.LOCAL_WRITE, virtualAddress: 0n });
  }

  #release(): void {
    this.region.deregister();
    this.#device.heap.free(this.region.block);
  }
}

function decodeCompletion(view: DataView, at: number): Completion {
  const opcode = Cqe.opcode.get(view, at);
  const isError = opcode === CqeErrorOpcode.SEND || opcode === CqeErrorOpcode.RECEIVE;
  return {
    qpn: Cqe.qpn.get(view, at),
    isSend: isError ? opcode === CqeErrorOpcode.SEND : Cqe.isSend.get(view, at) === 1,
    opcode,
    syndrome: isError ? CqeError.syndrome.get(view, at) : 0,
    byteCount: Cqe.byteCount.get(view, at),
    immediate: Cqe.immediate.get(view, at),
    wqe: Cqe.wqe.get(view, at),
    remoteQpn: Cqe.remoteQpn.get(view, at),
    rlid: Cqe.rlid.get(view, at),
    sl: Cqe.sl.get(view, at),
    hasGrh: Cqe.grh.get(view, at) === 1,
  };
}

// The MT25204 as its driver sees it: two BARs, a command register, event queues. Docs "infinihost" part I.
//
// Registers that a VMM may map (HCR, EQ arm, EQ consumer indices) and the UAR pages are plain memory that `poll` looks at. A
// trapped access is the same: the bytes are stored and then looked at, so both modes run through one path.

import type { AddressSpace } from "../base/address-space.ts";
import { type Memory, newMemory, swap32 } from "../base/bytes.ts";
import { newCounters } from "../base/counters.ts";
import type { Log } from "../base/log.ts";
import { Bar0, CatastrophicError, DB_RECORD_BYTES, EQ_SET_CI_STRIDE, UAR_PAGE_BYTES } from "../spec/hca/registers.ts";
import { Adapter } from "../transport/adapter.ts";
import { AdapterCounter } from "../transport/counters.ts";
import { DoorbellRecord } from "../transport/doorbell-record.ts";
import { icmOffsetOf, icmPageOf } from "../transport/icm.ts";
import type { Network } from "../transport/network.ts";
import { AdapterPort } from "../transport/port.ts";
import type { QueuePair } from "../transport/queue-pair.ts";
import { receivePacket } from "../transport/special.ts";
import type { Wire, WireClient } from "../transport/wire.ts";
import { CommandInterface } from "./command-interface.ts";
import { Doorbells } from "./doorbells.ts";
import { Events, type InterruptSink } from "./events.ts";
import { DEFAULT_QUOTA, type Quota } from "./limits.ts";
import { SystemState } from "./system-state.ts";

const HCR_AT = Bar0.HCR - Bar0.MAPPED;
const EQ_ARM_LOW_AT = Bar0.EQ_ARM + 4 - Bar0.MAPPED;
const EQ_SET_CI_AT = Bar0.EQ_SET_CI - Bar0.MAPPED;
const CATAS_AT = Bar0.CATAS - Bar0.MAPPED;
/** Makes the first dword differ from zero whatever the type: any other value is fatal to the driver. */
const CATAS_VALID = 1;
const RESET_VALUE = 1;

/** Second dword of the catastrophic-error buffer: ours, for whoever reads the driver's log. */
const CatastrophicDetail = { EVENT_QUEUE: 1 } as const;

/** Sizes and bases that INIT_HCA sets. */
export interface Profile {
  logQps: number;
  logSrqs: number;
  logCqs: number;
  logMpts: number;
  multicastEntries: number;
  multicastHashEntries: number;
  logUars: number;
  uarcBase: number;
  uarcEntryBytes: number;
  checksAvPort: boolean;
}

export interface HcaOptions {
  /** For messages: the node's name. */
  name: string;
  network: Network;
  /** Guest memory; the VMM's side fills it. */
  dma: AddressSpace;
  /** Backing of BAR 0 from `Bar0.MAPPED`, `Bar0.MAPPED_BYTES` long. */
  registers: Memory;
  /** Backing of BAR 2. */
  uar: Memory;
  interrupts: InterruptSink;
  log: Log;
  /** True if the VMM maps registers and UARs into the guest; false if every access is a message. */
  isMapped: boolean;
  counters?: Float64Array;
  /** What this HCA may have, where it differs from `DEFAULT_QUOTA`. */
  quota?: Partial<Quota>;
}

export class Hca {
  readonly name: string;
  readonly dma: AddressSpace;
  readonly adapter: Adapter;
  readonly events: Events;
  readonly doorbells: Doorbells;
  readonly quota: Quota;
  systemState: number = SystemState.RESET;
  /** It has stopped looking at what its driver writes; nothing of that is lost. */
  isFrozen = false;
  readonly #registers: Memory;
  readonly #uar: Memory;
  readonly #commands: CommandInterface;
  readonly #log: Log;
  #profile: Profile | undefined;
  /** When the device was looked at last, for accesses that come as messages. */
  #nowNs = 0;

  constructor(options: HcaOptions) {
    this.name = options.name;
    this.quota = { ...DEFAULT_QUOTA, ...options.quota };
    this.dma = options.dma;
    this.#log = options.log;
    this.#registers = options.registers;
    this.#uar = options.uar;
    const counters = options.counters ?? newCounters(AdapterCounter);
    this.events = new Events(options.interrupts, counters, options.isMapped);
    this.adapter = new Adapter({
      network: options.network,
      dma: options.dma,
      noMemory: newMemory(8),
      events: this.events,
      counters,
    });
    this.doorbells = new Doorbells(options.uar, this.adapter);
    this.#commands = new CommandInterface(this, options.registers, HCR_AT, options.log);
  }

  /** Adds the next port (1, 2) with the wire behind it; returns what the fabric calls. */
  addPort(wire: Wire): WireClient {
    const port = new AdapterPort(this.adapter, wire, this.adapter.ports.length + 1);
    this.adapter.ports.push(port);
    this.adapter.network.attach(port);
    return {
      receive: (packet) => receivePacket(port, packet),
      portStateChanged: (isActive) => {
        this.adapter.network.connectionsChanged();
        this.events.portChange(port.number, isActive);
      },
    };
  }

  /** The HCA goes away: nothing refers to it afterwards. */
  destroy(): void {
    this.reset();
    for (const port of this.adapter.ports) this.adapter.network.detach(port);
    this.adapter.destroy();
  }

  /** BAR 0 + 0xf0010, PCI reset, or the VMM has gone: drops all state (1.4). */
  reset(): void {
    this.close();
    for (const port of this.adapter.ports) port.wire.disable();
    this.#registers.bytes.fill(0);
    this.systemState = SystemState.RESET;
  }

  /** INIT_HCA. */
  initialise(profile: Profile): void {
    const { adapter } = this;
    adapter.qps.reset(profile.logQps);
    adapter.cqs.reset(profile.logCqs);
    adapter.srqs.reset(profile.logSrqs);
    adapter.regions.reset(profile.logMpts);
    adapter.multicast.reset(profile.multicastEntries, profile.multicastHashEntries);
    adapter.checksAvPort = profile.checksAvPort;
    this.#profile = profile;
    this.systemState = SystemState.INITIALISED;
  }

  /**
   * Something happened that the driver cannot be told in the ordinary way: the device says so in its catastrophic-error buffer,
   * which the driver polls, and does nothing more until it is reset (1.5).
   */
  stopForError(type: number, detail: number): void {
    this.adapter.counters[AdapterCounter.catastrophicErrors]! += 1;
    this.events.localCatastrophic();
    this.events.flush();
    this.close();
    this.systemState = SystemState.FAILED;
    this.#registers.view.setUint32(CATAS_AT, ((type << 24) | CATAS_VALID) >>> 0, false);
    this.#registers.view.setUint32(CATAS_AT + 4, detail, false);
    this.#log.warn(`${this.name}: stopped by an internal error (${type}, ${detail}); its driver must reset it`);
  }

  /** CLOSE_HCA: contexts are gone; the driver then unmaps ICM. */
  close(): void {
    this.events.reset();
    this.doorbells.reset();
    this.adapter.reset();
    for (const port of this.adapter.ports) {
      port.smiQpn = -1;
      port.gsiQpn = -1;
    }
    this.#profile = undefined;
    if (this.systemState === SystemState.INITIALISED) this.systemState = SystemState.FIRMWARE_RUNS;
  }

  /** Any state → RESET: the QP is gone, its queued WQEs vanish without CQEs. */
  removeQp(qp: QueuePair): void {
    this.doorbells.unwatchQp(qp);
    this.adapter.qps.remove(qp);
    qp.detach();
  }

  /** What INIT_HCA has set; undefined before it. */
  get profile(): Readonly<Profile> | undefined {
    return this.#profile;
  }

  hasUar(index: number): boolean {
    return this.#profile !== undefined && index < 2 ** this.#profile.logUars && index < this.#uar.bytes.length / UAR_PAGE_BYTES;
  }

  /** Doorbell record `index` of a UAR (3.5). */
  recordAt(uar: number, index: number): DoorbellRecord {
    const { uarcBase = 0, uarcEntryBytes = UAR_PAGE_BYTES } = this.#profile ?? {};
    const inEntry = (index * DB_RECORD_BYTES) % uarcEntryBytes;
    const address = uarcBase + uar * uarcEntryBytes + inEntry;
    return new DoorbellRecord(this.adapter.icm, icmPageOf(address), icmOffsetOf(address));
  }

  clearConsumerIndex(eqn: number): void {
    this.#registers.view.setInt32(EQ_SET_CI_AT + eqn * EQ_SET_CI_STRIDE, 0, false);
  }

  /**
   * Looks at the command register, the EQ registers and the doorbells. Returns work done.
   * @param isHasty others wait: leave what can wait to another poll
   */
  poll(nowNs: number, isHasty = false): number {
    this.#nowNs = nowNs;
    if (this.isFrozen) return 0;
    if (this.events.hasFault) this.stopForError(CatastrophicError.INTERNAL, CatastrophicDetail.EVENT_QUEUE);
    let work = this.#commands.poll(nowNs);
    this.#pollEqRegisters();
    work += this.doorbells.poll(isHasty);
    return work;
  }

  #pollEqRegisters(): void {
    const { words } = this.#registers;
    const word = EQ_ARM_LOW_AT >> 2;
    if (words[word] === 0) return;
    // An exchange: what the driver stores between a load and a store of ours would be lost.
    const armMask = swap32(Atomics.exchange(words, word, 0));
    this.events.pollRegisters(this.#registers, EQ_SET_CI_AT, armMask);
  }

  // ---- trapped accesses ---------------------------------------------------------------------------------------------

  /** Reads `target.length` bytes of BAR 0 at `offset`. */
  readBar0(offset: number, target: Uint8Array): void {
    target.fill(0);
    const at = offset - Bar0.MAPPED;
    if (at >= 0 && at + target.length <= Bar0.MAPPED_BYTES) target.set(this.#registers.bytes.subarray(at, at + target.length));
  }

  /** Writes to BAR 0. The driver writes aligned dwords; anything else outside the mapped pages is ignored. */
  writeBar0(offset: number, data: Uint8Array): void {
    const at = offset - Bar0.MAPPED;
    if (at >= 0 && at + data.length <= Bar0.MAPPED_BYTES) {
      this.#registers.bytes.set(data, at);
      this.poll(this.#nowNs);
      return;
    }
    const value = data.length === 4 ? new DataView(data.buffer, data.byteOffset, 4).getUint32(0, false) : 0;
    if (offset === Bar0.RESET && value === RESET_VALUE) this.reset();
    else if (offset === Bar0.CLR_INT || offset === Bar0.CLR_INT + 4) this.events.clearIntx();
    else this.adapter.counters[AdapterCounter.badRegisterAccesses]! += 1;
  }

  readBar2(_offset: number, target: Uint8Array): void {
    target.fill(0);
  }

  /** Writes to a UAR page that is not mapped: the same stores, then the same look. */
  writeBar2(offset: number, data: Uint8Array): void {
    if (offset + data.length > this.#uar.bytes.length) {
      this.adapter.counters[AdapterCounter.badRegisterAccesses]! += 1;
      return;
    }
    this.#uar.bytes.set(data, offset);
    if (!this.isFrozen) this.doorbells.poll();
  }
}

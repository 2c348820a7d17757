// Bringing an MT25204 up and down, in the order the Linux driver does it. Docs "infinihost" 8.1, 8.4.

import { Command, CommandStatus, InitHca, QueryAdapter, QueryDevLim, QueryFw } from "../spec/hca/commands.ts";
import { EQ_INTR_MSIX } from "../spec/hca/contexts.ts";
import { EventType } from "../spec/hca/queues.ts";
import { Bar0 } from "../spec/hca/registers.ts";
import { type DeviceAccess, DriverError } from "./access.ts";
import { CommandPort } from "./command-port.ts";
import type { DriverCompletionQueue } from "./completion-queue.ts";
import { ContextMemory, LOG_UARC_PAGES } from "./context-memory.ts";
import { DmaHeap } from "./dma-heap.ts";
import { type DeviceEvent, DriverEventQueue } from "./event-queue.ts";
import { IndexPool } from "./index-pool.ts";
import { MulticastTable } from "./multicast-table.ts";

export interface DeviceOptions {
  logQps?: number;
  logCqs?: number;
  logSrqs?: number;
  logMpts?: number;
  mtts?: number;
  /** How the device interrupts (default MSI-X). */
  interrupts?: "msix" | "intx";
}

const LOG_UARS = 11;
const LOG_MULTICAST = 8;
const MULTICAST_HASH = 128;
const LOG_COMPLETION_EQ = 10;
const LOG_SMALL_EQ = 8;
/** Events the Linux driver maps to its async EQ (2.8.11). */
const ASYNC_EVENTS = 0x1f43fe;
/** The driver's own protection domain. */
const DRIVER_PD = 4;

export class Device {
  readonly access: DeviceAccess;
  readonly heap: DmaHeap;
  readonly commands: CommandPort;
  readonly cqs = new Map<number, DriverCompletionQueue>();
  /** Events other than completions, in order. */
  readonly asyncEvents: DeviceEvent[] = [];
  /** UAR page of this driver. */
  readonly uar: number;
  readonly completionEqn: number;
  readonly firmware: string;
  readonly ports: number;
  /** Internal number of QP0 of port 1; QP1 is two further (4.1.2). */
  readonly specialQpBase: number;
  readonly icm: ContextMemory;
  readonly mptIndexes: IndexPool;
  readonly cqNumbers: IndexPool;
  readonly srqNumbers: IndexPool;
  readonly qpNumbers: IndexPool;
  readonly pdNumbers: IndexPool;
  readonly multicast: MulticastTable;
  /** QUERY_DEV_LIM as the device answered. */
  readonly limits: DataView;
  /** For completions, asynchronous events and commands, in this order. */
  readonly eventQueues: DriverEventQueue[] = [];

  /**
   * Resets the device and initialises it.
   * @throws DriverError if the device does not behave like an MT25204
   */
  constructor(access: DeviceAccess, options: DeviceOptions = {}) {
    const { logQps = 16, logCqs = 16, logSrqs = 10, logMpts = 17, mtts = 2 ** 16 } = options;
    this.access = access;
    this.heap = new DmaHeap(access);
    access.writeRegister(Bar0.RESET, 1);
    access.settle();
    this.commands = new CommandPort(access, this.heap);
    this.firmware = this.#startFirmware();
    const limits = this.commands.run(Command.QUERY_DEV_LIM, { outputBytes: QueryDevLim.byteLength }).output;
    this.limits = limits;
    this.ports = QueryDevLim.ports.get(limits, 0);
    this.uar = QueryDevLim.reservedUars.get(limits, 0) + 1;
    this.icm = new ContextMemory(access, this.heap, this.commands, 2 ** LOG_UARS, mtts);
    this.commands.run(Command.SET_ICM_SIZE, { inputValue: { hi: 0, lo: this.icm.bytes } });
    this.#initHca(logQps, logCqs, logSrqs, logMpts);
    const reserved = (field: { get(view: DataView, at: number): number }): number => 2 ** field.get(limits, 0);
    this.specialQpBase = (reserved(QueryDevLim.logReservedQps) + 1) & ~1;
    this.mptIndexes = new IndexPool("memory regions", reserved(QueryDevLim.logReservedMpts), 2 ** logMpts);
    this.cqNumbers = new IndexPool("CQs", reserved(QueryDevLim.logReservedCqs), 2 ** logCqs);
    this.srqNumbers = new IndexPool("SRQs", reserved(QueryDevLim.logReservedSrqs), 2 ** logSrqs);
    this.qpNumbers = new IndexPool("QPs", this.specialQpBase + 4, 2 ** logQps);
    this.pdNumbers = new IndexPool("protection domains", DRIVER_PD + 1, 2 ** 15);
    const overflow = new IndexPool("multicast entries", MULTICAST_HASH, 2 ** LOG_MULTICAST);
    this.multicast = new MulticastTable(this.commands, overflow);
    this.completionEqn = reserved(QueryDevLim.logReservedEqs);
    this.#createEqs(options.interrupts ?? "msix");
    this.#configureSpecialQps(this.specialQpBase);
  }

  #startFirmware(): string {
    const { output } = this.commands.run(Command.QUERY_FW, { outputBytes: QueryFw.byteLength });
    const lam = this.commands.run(Command.ENABLE_LAM, { outputBytes: 64, accepts: [CommandStatus.LAM_NOT_PRESENT] });
    if (lam.status !== CommandStatus.LAM_NOT_PRESENT)
      throw new DriverError("ENODEV", "the device has attached memory: not mem-free");
    if (QueryFw.fwPages.get(output, 0) !== 0)
      throw new DriverError("ENOSYS", "firmware that wants guest memory is not supported");
    this.commands.run(Command.RUN_FW);
    return [QueryFw.major, QueryFw.minor, QueryFw.subMinor].map((field) => field.get(output, 0)).join(".");
  }

  #initHca(logQps: number, logCqs: number, logSrqs: number, logMpts: number): void {
    this.commands.run(Command.INIT_HCA, {
      input: (view, at) => {
        InitHca.checkUdAvPort.set(view, at, 1);
        InitHca.qpcBase.lo.set(view, at, logQps);
        InitHca.cqcBase.lo.set(view, at, logCqs);
        InitHca.srqcBase.lo.set(view, at, logSrqs);
        InitHca.eqcBase.lo.set(view, at, 5);
        InitHca.logMulticastEntryBytes.set(view, at, 8);
        InitHca.multicastHashEntries.set(view, at, MULTICAST_HASH);
        InitHca.logMulticastEntries.set(view, at, LOG_MULTICAST);
        InitHca.logMpts.set(view, at, logMpts);
        InitHca.mttBase.setBig(view, at, BigInt(this.icm.mttBase));
        InitHca.logUarcPages.set(view, at, LOG_UARC_PAGES);
        InitHca.logUars.set(view, at, LOG_UARS);
        InitHca.uarcBase.setBig(view, at, BigInt(this.icm.uarcBase));
      },
    });
  }

  #createEqs(interrupts: "msix" | "intx"): void {
    const first = this.completionEqn;
    const sizes = [LOG_COMPLETION_EQ, LOG_SMALL_EQ, LOG_SMALL_EQ];
    const pin = interrupts === "intx" ? this.#intaPin() : 0;
    sizes.forEach((logSize, vector) => {
      const eq = new DriverEventQueue(
        this,
        first + vector,
        logSize,
        interrupts === "intx" ? pin : EQ_INTR_MSIX | vector,
        DRIVER_PD,
      );
      this.eventQueues.push(eq);
      if (interrupts === "msix") this.access.onInterrupt(vector, () => eq.handleInterrupt());
    });
    if (interrupts === "intx") this.access.onIntx(() => this.#handleIntx(pin));
    this.commands.run(Command.MAP_EQ, { modifier: first + 1, inputValue: { hi: 0, lo: ASYNC_EVENTS } });
    this.commands.run(Command.MAP_EQ, { modifier: first + 2, inputValue: { hi: 0, lo: 1 << EventType.COMMAND } });
    this.commands.useEvents(true);
    // The interrupt self-test: without a working interrupt this times out (P-3).
    this.commands.run(Command.NOP, { modifier: 0x1f });
  }

  #intaPin(): number {
    const { output } = this.commands.run(Command.QUERY_ADAPTER, { outputBytes: QueryAdapter.byteLength });
    return QueryAdapter.intaPin.get(output, 0);
  }

  /** One line for all queues: take it down, consume everywhere, arm all of them in one store (5.9). */
  #handleIntx(pin: number): void {
    this.access.writeRegister(Bar0.CLR_INT + (pin < 32 ? 4 : 0), (1 << (pin & 31)) >>> 0);
    let mask = 0;
    for (const eq of this.eventQueues) {
      eq.consume();
      mask |= 1 << eq.number;
    }
    this.access.writeRegister(Bar0.EQ_ARM + 4, mask >>> 0);
  }

  #configureSpecialQps(base: number): void {
    this.commands.run(Command.CONF_SPECIAL_QP, { modifier: base, opcodeModifier: 0 });
    this.commands.run(Command.CONF_SPECIAL_QP, { modifier: base === 0 ? 0 : base + 2, opcodeModifier: 1 });
  }

  /** A fresh protection domain number; the device needs no command for it. */
  allocatePd(): number {
    return this.pdNumbers.allocate();
  }

  /** Called by the event queues. */
  handleEvent(event: DeviceEvent): void {
    if (event.type === EventType.COMPLETION) this.cqs.get(event.number)?.noteEvent();
    else this.asyncEvents.push(event);
  }

  /** Unloads the driver: everything the caller created must be gone. */
  close(): void {
    for (let port = 1; port <= this.ports; port++) this.commands.run(Command.CLOSE_IB, { modifier: port });
    this.#configureSpecialQps(0);
    this.commands.useEvents(false);
    for (const eqn of [this.completionEqn + 1, this.completionEqn + 2]) {
      this.commands.run(Command.MAP_EQ, { modifier: (eqn | 0x80000000) >>> 0, inputValue: { hi: 0, lo: 0xffffffff } });
    }
    for (const eq of [...this.eventQueues].reverse()) eq.destroy();
    this.commands.run(Command.CLOSE_HCA);
    this.icm.release();
    this.commands.run(Command.UNMAP_ICM_AUX);
    this.commands.run(Command.UNMAP_FA);
  }
}

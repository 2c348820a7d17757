// HCAs, engine and drivers in one process, without threads, sockets or privileges: the device's first test, and what a
// newcomer sees where no VM can be had. The caller's clock decides what time it is.

import { setImmediate, setTimeout } from "node:timers/promises";
import { AddressSpace } from "../base/address-space.ts";
import { type Memory, newMemory, sliceOf } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { type Log, silentLog } from "../base/log.ts";
import type { DeviceAccess } from "../driver/access.ts";
import { Hca } from "../hca/hca.ts";
import type { Quota } from "../hca/limits.ts";
import { Bar0, UAR_BYTES, UAR_PAGE_BYTES } from "../spec/hca/registers.ts";
import { Engine } from "../transport/engine.ts";
import { Network } from "../transport/network.ts";
import type { CompiledRequests } from "../transport/plain/compiled-requests.ts";
import type { Wire, WireClient } from "../transport/wire.ts";

/** Rounds of `settle` before the device counts as hung. */
const ROUNDS_MAX = 100_000;
/** Sweeps without work after which whoever waits gives the processor away, and for how long. */
const IDLE_STEPS = 1000;
const REST_MS = 1;
const DMA_BASE = 0x10_0000;

/** Where guests' memory comes from, and what carries out their commonest requests: a program of its own, if that reaches the memory. */
export const workshop: { newGuestMemory(byteLength: number): Memory; newCompiled(): CompiledRequests | undefined } = {
  newGuestMemory: newMemory,
  newCompiled: () => undefined,
};

export interface InProcessOptions {
  clock: Clock;
  log?: Log;
  /** Work that belongs to the fabric; returns how much there was. */
  stepFabric?: (nowNs: number) => number;
  /** True: registers and doorbells are stores that the device polls. False: every access is a call, as if trapped. */
  isMapped?: boolean;
}

/** One guest: its memory, its HCA, and the access its driver uses. */
export interface InProcessNode {
  readonly name: string;
  readonly hca: Hca;
  readonly access: InProcessAccess;
  readonly dma: AddressSpace;
}

export class InProcessDomain {
  readonly network = new Network();
  readonly engine = new Engine(this.network);
  readonly nodes: InProcessNode[] = [];
  /** The other engines of the same process, which have their turns when this one has. */
  peers: readonly InProcessDomain[] = [];
  readonly #options: InProcessOptions;
  /** Sweeps since there was something to do. */
  #idleSteps = 0;

  constructor(options: InProcessOptions) {
    this.#options = options;
    this.network.compiled = workshop.newCompiled();
  }

  /**
   * Adds a guest with `memoryBytes` of DMA memory whose HCA has one port on `wire`.
   * @param connect is given what the fabric must call
   */
  addNode(
    name: string,
    memoryBytes: number,
    wire: Wire,
    connect: (client: WireClient) => void = () => {},
    quota: Partial<Quota> = {},
  ): InProcessNode {
    const none = newMemory(8);
    const dma = new AddressSpace(none);
    const memory = workshop.newGuestMemory(memoryBytes);
    const refused = dma.map(DMA_BASE, memoryBytes, memory, 0, true);
    if (refused !== undefined) throw new Error(`invariant: guest memory: ${refused}`);
    const registers = newMemory(Bar0.MAPPED_BYTES);
    const uar = newMemory(UAR_BYTES);
    const handlers = new Map<number, () => void>();
    const due: number[] = [];
    const line = { isAsserted: false };
    const isMapped = this.#options.isMapped ?? true;
    const hca = new Hca({
      name,
      network: this.network,
      dma,
      registers,
      uar,
      isMapped,
      // Where the clock may stand still, commands are not counted by the second unless a test wants that.
      quota: { commandsPerSecond: Number.POSITIVE_INFINITY, ...quota },
      log: this.#options.log ?? silentLog,
      interrupts: {
        msix: (vector) => due.push(vector),
        intx: (isAsserted) => {
          line.isAsserted = isAsserted;
        },
      },
    });
    connect(hca.addPort(wire));
    this.engine.add(hca.adapter);
    const access = new InProcessAccess({ domain: this, hca, memory, registers, uar, handlers, due, line, isMapped });
    const node: InProcessNode = { name, hca, access, dma };
    this.nodes.push(node);
    return node;
  }

  /** Lets a guest's HCA stand still, or go on. */
  setFrozen({ hca }: InProcessNode, isFrozen: boolean): void {
    hca.isFrozen = isFrozen;
    if (isFrozen) this.engine.remove(hca.adapter);
    else this.engine.add(hca.adapter);
  }

  /** Takes a guest away as if its VM had been killed. */
  removeNode(node: InProcessNode): void {
    this.nodes.splice(this.nodes.indexOf(node), 1);
    this.engine.remove(node.hca.adapter);
    node.hca.destroy();
  }

  /** One sweep over everything; returns work done. */
  step(): number {
    let work = this.#stepOwn();
    for (const peer of this.peers) work += peer.#stepOwn();
    this.#idleSteps = work === 0 ? this.#idleSteps + 1 : 0;
    return work;
  }

  #stepOwn(): number {
    const now = this.#options.clock.nowNs();
    let work = this.#options.stepFabric?.(now) ?? 0;
    for (const node of this.nodes) work += node.hca.poll(now);
    work += this.network.receive(now);
    work += this.engine.step(now);
    for (const node of this.nodes) {
      node.hca.events.flush();
      work += node.access.deliverInterrupts();
    }
    for (const node of this.nodes) work += node.access.background();
    return work;
  }

  /** Lets others of the event loop have their turn; longer if nothing has happened for a while. */
  async rest(timeoutMs: number): Promise<void> {
    const isQuiet = this.#idleSteps > IDLE_STEPS;
    await (isQuiet ? setTimeout(Math.min(timeoutMs, REST_MS)) : setImmediate());
  }

  /** Sweeps until there is nothing to do at this time. */
  settle(): void {
    for (let i = 0; i < ROUNDS_MAX; i++) if (this.step() === 0) return;
    throw new Error("invariant: the in-process domain does not come to rest");
  }
}

interface AccessParts {
  domain: InProcessDomain;
  hca: Hca;
  memory: Memory;
  registers: Memory;
  uar: Memory;
  handlers: Map<number, () => void>;
  due: number[];
  /** The INTx line. */
  line: { isAsserted: boolean };
  isMapped: boolean;
}

/** Register access as a VM has it: stores to mapped pages, calls for the rest. */
export class InProcessAccess implements DeviceAccess {
  readonly memory: Memory;
  readonly dmaBase = DMA_BASE;
  background: () => number = () => 0;
  readonly isGone = false;
  /** Accesses that went through a call: what would be a message of the VMM. */
  trappedAccesses = 0;
  readonly #parts: AccessParts;
  #onIntx: (() => void) | undefined;

  constructor(parts: AccessParts) {
    this.memory = parts.memory;
    this.#parts = parts;
  }

  readRegister(offset: number): number {
    const { registers, hca, isMapped } = this.#parts;
    if (isMapped && isMappedOffset(offset)) return registers.view.getUint32(offset - Bar0.MAPPED, false);
    this.trappedAccesses++;
    const bytes = new Uint8Array(4);
    hca.readBar0(offset, bytes);
    return new DataView(bytes.buffer).getUint32(0, false);
  }

  writeRegister(offset: number, value: number): void {
    const { registers, hca, isMapped } = this.#parts;
    if (isMapped && isMappedOffset(offset)) {
      registers.view.setUint32(offset - Bar0.MAPPED, value, false);
      return;
    }
    this.trappedAccesses++;
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, false);
    hca.writeBar0(offset, bytes);
  }

  uarPage(page: number): Memory | undefined {
    const { uar, isMapped } = this.#parts;
    return isMapped ? sliceOf(uar, page * UAR_PAGE_BYTES, UAR_PAGE_BYTES) : undefined;
  }

  writeDoorbell(page: number, offset: number, hi: number, lo: number): void {
    const { uar, hca, isMapped } = this.#parts;
    const at = page * UAR_PAGE_BYTES + offset;
    if (isMapped) {
      uar.view.setUint32(at, hi, false);
      uar.view.setUint32(at + 4, lo, false);
      return;
    }
    this.trappedAccesses++;
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, hi, false);
    view.setUint32(4, lo, false);
    hca.writeBar2(at, bytes);
  }

  settle(): void {
    this.#parts.domain.settle();
  }

  /** One sweep over the whole process: everybody's device, everybody's background. */
  poll(): number {
    return this.#parts.domain.step();
  }

  wait(timeoutMs: number): Promise<void> {
    return this.#parts.domain.rest(timeoutMs);
  }

  close(): void {
    this.background = () => 0;
  }

  onInterrupt(vector: number, handler: () => void): void {
    this.#parts.handlers.set(vector, handler);
  }

  onIntx(handler: () => void): void {
    this.#onIntx = handler;
  }

  /** Runs the handlers of the interrupts that have arrived; returns how many. */
  deliverInterrupts(): number {
    const due = this.#parts.due.splice(0);
    for (const vector of due) this.#parts.handlers.get(vector)?.();
    if (!this.#parts.line.isAsserted || this.#onIntx === undefined) return due.length;
    this.#onIntx();
    return due.length + 1;
  }
}

const isMappedOffset = (offset: number): boolean => offset >= Bar0.MAPPED && offset < Bar0.MAPPED + Bar0.MAPPED_BYTES;

// Protection domains: what belongs together. IBA vol 1, 10.2.3.

import { AddressHandle, type AddressHandleAttributes } from "./address-handle.ts";
import type { Context } from "./context.ts";
import type { DmaMemory } from "./dma-memory.ts";
import { asVerb } from "./error.ts";
import { MemoryRegion, type RegionOptions } from "./memory-region.ts";
import { VerbsObject } from "./object.ts";
import { type QpInitAttributes, QueuePair } from "./queue-pair.ts";
import { SharedReceiveQueue, type SrqInitAttributes } from "./shared-receive-queue.ts";
import type { WorkCompletion } from "./work-completion.ts";

export class ProtectionDomain extends VerbsObject {
  readonly context: Context;
  readonly number: number;

  /** Use `context.allocPd`. */
  constructor(context: Context) {
    super([context]);
    this.context = context;
    this.number = asVerb(() => context.device.allocatePd());
    this.holdOwners();
  }

  get label(): string {
    return `PD ${this.number}`;
  }

  /**
   * Registers memory, or a part of it.
   * @param access bits of `AccessFlag`; local read is always granted
   * @throws VerbsError ENOMEM if the device has no key or translation left
   */
  regMr(memory: DmaMemory, access = 0, options: RegionOptions = {}): MemoryRegion {
    return new MemoryRegion(this, memory, access, options);
  }

  /** Creates a queue pair in state RESET. */
  createQp(init: QpInitAttributes): QueuePair {
    return new QueuePair(this, init);
  }

  createSrq(init: SrqInitAttributes): SharedReceiveQueue {
    return new SharedReceiveQueue(this, init);
  }

  /** A destination of datagrams. */
  createAh(attributes: AddressHandleAttributes): AddressHandle {
    return new AddressHandle(this, attributes);
  }

  /**
   * The way back to the sender of a datagram.
   * @param grh the first 40 bytes of the buffer it came in, if `wc.hasGrh`
   */
  createAhFromWc(wc: WorkCompletion, grh?: Uint8Array): AddressHandle {
    return new AddressHandle(this, AddressHandle.attributesOf(wc, grh));
  }

  protected release(): void {
    this.context.device.pdNumbers.free(this.number);
  }
}

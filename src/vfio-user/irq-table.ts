// The interrupts of a device ("VFIO_USER_DEVICE_GET_IRQ_INFO", "VFIO_USER_DEVICE_SET_IRQS"): an eventfd, a mask and a pending
// bit per vector.

import { signalEventfd } from "../host/eventfd.ts";
import { closeDescriptor } from "../host/libc.ts";
import { IRQ_INDEX_COUNT, IrqIndex } from "../spec/vfio-user/numbers.ts";
import { countUp, ServerCounter } from "./counters.ts";
import type { Interrupts } from "./device.ts";
import { MAX_IRQ_VECTORS } from "./limits.ts";

/** The vectors of one interrupt index, as arrays by vector. */
interface Vectors {
  readonly count: number;
  /** Eventfds; -1: none. */
  readonly descriptors: Int32Array;
  readonly masked: Uint8Array;
  readonly pending: Uint8Array;
}

export class IrqTable implements Interrupts {
  readonly #vectors: readonly Vectors[];
  readonly #counters: Float64Array;
  #isIntxAsserted = false;

  /** @param counts vectors by interrupt index. */
  constructor(counts: readonly number[], counters: Float64Array) {
    this.#counters = counters;
    this.#vectors = Array.from({ length: IRQ_INDEX_COUNT }, (_, index) => {
      const size = counts[index] ?? 0;
      if (!(Number.isInteger(size) && size >= 0 && size <= MAX_IRQ_VECTORS)) {
        throw new Error(`device: expected 0 to ${MAX_IRQ_VECTORS} vectors of interrupt index ${index}, got ${size}`);
      }
      const descriptors = new Int32Array(size).fill(-1);
      return { count: size, descriptors, masked: new Uint8Array(size), pending: new Uint8Array(size) };
    });
  }

  /** Vectors of an interrupt index; 0 for one that does not exist. */
  countOf(index: number): number {
    return this.#vectors[index]?.count ?? 0;
  }

  signal(index: number, vector: number): boolean {
    const vectors = this.#vectors[index];
    if (vectors === undefined || !(vector >= 0 && vector < vectors.count)) {
      countUp(this.#counters, ServerCounter.interruptsUnroutable);
      return false;
    }
    const fd = vectors.descriptors[vector] as number;
    if (fd < 0 || vectors.masked[vector] !== 0) {
      vectors.pending[vector] = 1;
      countUp(this.#counters, ServerCounter.interruptsPending);
      return false;
    }
    vectors.pending[vector] = 0;
    // INTx masks itself when it is delivered (VFIO_IRQ_INFO_AUTOMASKED)
    if (index === IrqIndex.INTX) vectors.masked[vector] = 1;
    countUp(this.#counters, ServerCounter.interrupts);
    signalEventfd(fd);
    return true;
  }

  setIntx(isAsserted: boolean): void {
    if (this.#isIntxAsserted === isAsserted) return;
    this.#isIntxAsserted = isAsserted;
    const vectors = this.#vectors[IrqIndex.INTX];
    if (isAsserted) this.signal(IrqIndex.INTX, 0);
    else if (vectors !== undefined && vectors.count > 0) vectors.pending[0] = 0;
  }

  isPending(index: number, vector: number): boolean {
    return this.#vectors[index]?.pending[vector] === 1;
  }

  /** Gives a vector its eventfd, which is now owned here; -1 takes it away. A pending interrupt is delivered. */
  setDescriptor(index: number, vector: number, fd: number): void {
    const vectors = this.#vectors[index];
    if (vectors === undefined || vector >= vectors.count) throw new Error("invariant: the vector exists");
    const old = vectors.descriptors[vector] as number;
    vectors.descriptors[vector] = fd;
    if (old >= 0) closeDescriptor(old);
    if (fd >= 0) this.#deliverPending(index, vector);
  }

  /** Masks or unmasks a vector; unmasking delivers what is pending. */
  setMasked(index: number, vector: number, isMasked: boolean): void {
    const vectors = this.#vectors[index];
    if (vectors === undefined || vector >= vectors.count) throw new Error("invariant: the vector exists");
    vectors.masked[vector] = isMasked ? 1 : 0;
    if (!isMasked) this.#deliverPending(index, vector);
  }

  /** Takes all eventfds of an index away and its masks; what is pending stays so. */
  disable(index: number): void {
    for (let vector = 0; vector < this.countOf(index); vector++) this.setDescriptor(index, vector, -1);
    this.#vectors[index]?.masked.fill(0);
  }

  /** Device reset: nothing is pending or asserted any more; eventfds and masks stay, they are the client's. */
  reset(): void {
    this.#isIntxAsserted = false;
    for (const vectors of this.#vectors) vectors.pending.fill(0);
  }

  /** The client has gone. */
  close(): void {
    for (let index = 0; index < IRQ_INDEX_COUNT; index++) this.disable(index);
    this.reset();
  }

  #deliverPending(index: number, vector: number): void {
    const isAsserted = index === IrqIndex.INTX && this.#isIntxAsserted;
    if (isAsserted || this.isPending(index, vector)) this.signal(index, vector);
  }
}

// What the author of a vfio-user device writes. Everything is called synchronously from `VfioUserServer.poll`, one call at a
// time, and must return soon: the thread serves other VMs too.

import type { AddressSpace } from "../base/address-space.ts";

/** A part of a region that the VM may map, in bytes from the region's start; both are multiples of the page size. */
export interface MappableArea {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** A region of a PCI device: a BAR, the ROM or configuration space. */
export interface Region {
  readonly sizeBytes: number;
  readonly isReadable: boolean;
  readonly isWritable: boolean;
  /** Shared memory behind the region: the VM's accesses go there and no message comes. */
  readonly mapping?: {
    /** A sealed memfd (`createSharedMemory`); it stays the device's. */
    readonly descriptor: number;
    /** Where the region's first byte lies in it; a multiple of the page size. */
    readonly offset: number;
    /** The parts that may be mapped; left out, all of the region. Accesses elsewhere come as messages. */
    readonly areas?: readonly MappableArea[];
  };
}

/** How a device interrupts its VM. Nothing here waits or allocates. */
export interface Interrupts {
  /**
   * Raises an edge: MSI-X, MSI, error or device request (`IrqIndex`). A vector that is masked or has no eventfd yet stays
   * pending, like a bit of the PBA, and is delivered once as soon as it can be.
   * @returns true if it was delivered now.
   */
  signal(index: number, vector: number): boolean;
  /** Sets the level of the INTx pin. It is delivered once, masked until the VM unmasks it, and again if still asserted then. */
  setIntx(isAsserted: boolean): void;
  /** True if the vector waits to be delivered: its bit in the PBA. */
  isPending(index: number, vector: number): boolean;
}

/** A PCI device behind a vfio-user socket. */
export interface VfioUserDevice {
  /** By region index (`RegionIndex`), at most 9; undefined or a short list: the device has no such region. */
  readonly regions: readonly (Region | undefined)[];
  /** Number of vectors by interrupt index (`IrqIndex`), at most 5. With `ERR` at 0 QEMU prints a harmless warning. */
  readonly irqCounts: readonly number[];
  /** The VM's memory; the server fills it as the VM maps and unmaps. Its `generation` tells when a kept answer is stale. */
  readonly dma: AddressSpace;
  /**
   * Reads `target.length` bytes of a region. `target` is zeroed before and valid during the call only.
   * @throws VfioUserError to answer with an errno; a PCI device rarely has a reason to.
   */
  read(region: number, offset: number, target: Uint8Array): void;
  /** Writes to a region; `data` is valid during the call only. */
  write(region: number, offset: number, data: Uint8Array): void;
  /** Back to the state after power-on: the VM resets the device, or it has gone. */
  reset(): void;
  /** A client has come; its interrupts are usable until `disconnected`. */
  connected(interrupts: Interrupts): void;
  /** The client has gone; `reset` follows, and then the memory in `dma` goes. */
  disconnected(): void;
}

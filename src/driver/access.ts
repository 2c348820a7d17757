// What the driver needs from the machine it runs on: register access, interrupts, and memory that the device can reach.
// One implementation talks to a device object in the same process; another can go through a vfio-user socket.

import type { Memory } from "../base/bytes.ts";

/** A PCI function as a driver sees it. */
export interface DeviceAccess {
  /** Memory for DMA; a byte's DMA address is `dmaBase` plus its offset. */
  readonly memory: Memory;
  readonly dmaBase: number;
  /** Reads the big-endian dword at a BAR 0 offset. */
  readRegister(offset: number): number;
  /** Writes the big-endian dword at a BAR 0 offset. */
  writeRegister(offset: number, value: number): void;
  /** UAR page `page` of BAR 2, if it is mapped: a doorbell is then two stores. */
  uarPage(page: number): Memory | undefined;
  /** Stores a 64-bit doorbell, high dword first, to a UAR page of BAR 2. */
  writeDoorbell(page: number, offset: number, hi: number, lo: number): void;
  /** Lets the device work; returns once it has nothing to do at the moment. */
  settle(): void;
  /** The device has gone away: nothing more will come of it. */
  readonly isGone: boolean;
  /** Lets the device work without waiting for it, runs the handlers of interrupts that have come, and `background`; returns work done. */
  poll(): number;
  /** Resolves when `poll` may have something to do, or after `timeoutMs`. */
  wait(timeoutMs: number): Promise<void>;
  /** Work of the driver outside its interrupt handlers. Returns how much there was. */
  background: () => number;
  /** Lets go of the device. */
  close(): void;
  /** Calls `handler` for MSI-X vector `vector` from then on. */
  onInterrupt(vector: number, handler: () => void): void;
  /** Calls `handler` while the INTx line is asserted; throws where the access has no INTx. */
  onIntx(handler: () => void): void;
}

/** Something the device refused, or that the caller may not ask for. */
export class DriverError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = "DriverError";
    this.code = code;
  }
}

// Base address registers as a device author declares them (PCI Local Bus Specification 3.0, 6.2.5.1).

import { BAR_COUNT, BarFlag } from "../spec/pci/config.ts";

/** One BAR; a 64-bit one takes the next register too, whose place in the list stays undefined. */
export interface Bar {
  /** A power of two, at least 16 bytes of memory or 4 of I/O. */
  readonly sizeBytes: number;
  readonly kind?: "memory32" | "memory64" | "io";
  readonly isPrefetchable?: boolean;
}

export const isIo = (bar: Bar): boolean => bar.kind === "io";
export const is64Bit = (bar: Bar): boolean => bar.kind === "memory64";

/** The read-only low bits of a BAR's register. */
export function barFlags(bar: Bar): number {
  if (isIo(bar)) return BarFlag.IO;
  return (is64Bit(bar) ? BarFlag.MEMORY_64 : 0) | (bar.isPrefetchable === true ? BarFlag.PREFETCHABLE : 0);
}

/** @throws Error if a BAR has an impossible size, or stands where the upper half of a 64-bit one belongs. */
export function assertBars(bars: readonly (Bar | undefined)[]): void {
  if (bars.length > BAR_COUNT) throw new Error(`PCI: expected at most ${BAR_COUNT} BARs, got ${bars.length}`);
  bars.forEach((bar, index) => {
    if (bar === undefined) return;
    const smallest = isIo(bar) ? 4 : 16;
    const largest = is64Bit(bar) ? 2 ** 52 : 2 ** 31;
    const isPowerOfTwo = Number.isInteger(Math.log2(bar.sizeBytes));
    if (!isPowerOfTwo || bar.sizeBytes < smallest || bar.sizeBytes > largest) {
      throw new Error(`PCI: BAR ${index}: expected a power of two of ${smallest} to ${largest} bytes, got ${bar.sizeBytes}`);
    }
    if (is64Bit(bar) && (index + 1 >= BAR_COUNT || bars[index + 1] !== undefined)) {
      throw new Error(`PCI: BAR ${index} has 64 bits and needs register ${index + 1} too`);
    }
  });
}

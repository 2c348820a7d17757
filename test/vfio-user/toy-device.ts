// A device for the protocol tests: BAR 0 is 8 KiB of plain bytes behind messages, BAR 2 is 64 KiB of shared memory, BAR 4 is
// shared in part, region 7 is configuration space, ROM can only be read, VGA only written. It writes down what happens to it.

import { AddressSpace } from "../../src/base/address-space.ts";
import { newMemory } from "../../src/base/bytes.ts";
import { createSharedMemory, type OwnedSharedMemory } from "../../src/host/shared-memory.ts";
import { ConfigSpace, msiX, powerManagement } from "../../src/pci/index.ts";
import { RegionIndex } from "../../src/spec/vfio-user/numbers.ts";
import type { Interrupts, Region, VfioUserDevice } from "../../src/vfio-user/index.ts";

export const BAR0_BYTES = 8192;
export const BAR2_BYTES = 65536;
export const BAR4_BYTES = 16384;
export const MSIX_VECTORS = 16;

export class ToyDevice implements VfioUserDevice {
  readonly dma = new AddressSpace(newMemory(8));
  readonly irqCounts = [1, 0, MSIX_VECTORS, 0, 1];
  readonly bar0 = newMemory(BAR0_BYTES);
  readonly shared: OwnedSharedMemory = createSharedMemory("vhca-toy", BAR2_BYTES + BAR4_BYTES);
  readonly config = new ConfigSpace({
    vendorId: 0x1af4,
    deviceId: 0x10f0,
    classCode: 0xff0000,
    bars: [{ sizeBytes: BAR0_BYTES }, undefined, { sizeBytes: BAR2_BYTES, kind: "memory64", isPrefetchable: true }],
    capabilities: [
      powerManagement(),
      msiX({ vectorCount: MSIX_VECTORS, tableBar: 0, tableOffset: 4096, pbaBar: 0, pbaOffset: 6144 }),
    ],
  });
  readonly regions: readonly (Region | undefined)[];
  /** What has happened: "connected", "reset", "disconnected". */
  readonly events: string[] = [];
  interrupts: Interrupts | undefined;

  constructor() {
    const { descriptor } = this.shared;
    const plain = { isReadable: true, isWritable: true };
    const regions: (Region | undefined)[] = [];
    regions[RegionIndex.BAR0] = { ...plain, sizeBytes: BAR0_BYTES };
    regions[RegionIndex.BAR2] = { ...plain, sizeBytes: BAR2_BYTES, mapping: { descriptor, offset: 0 } };
    const areas = [
      { offset: 0, sizeBytes: 4096 },
      { offset: 8192, sizeBytes: 4096 },
    ];
    regions[RegionIndex.BAR4] = { ...plain, sizeBytes: BAR4_BYTES, mapping: { descriptor, offset: BAR2_BYTES, areas } };
    regions[RegionIndex.ROM] = { isReadable: true, isWritable: false, sizeBytes: 2 ** 21 };
    regions[RegionIndex.CONFIG] = { ...plain, sizeBytes: 256 };
    regions[RegionIndex.VGA] = { isReadable: false, isWritable: true, sizeBytes: 16 };
    this.regions = Array.from({ length: 9 }, (_, i) => regions[i]);
  }

  read(region: number, offset: number, target: Uint8Array): void {
    if (region === RegionIndex.CONFIG) this.config.read(offset, target);
    else if (region === RegionIndex.BAR0) target.set(this.bar0.bytes.subarray(offset, offset + target.length));
    else if (region === RegionIndex.ROM) for (let i = 0; i < target.length; i++) target[i] = (offset + i) & 0xff;
    else target.set(this.#behind(region).subarray(offset, offset + target.length));
  }

  write(region: number, offset: number, data: Uint8Array): void {
    if (region === RegionIndex.CONFIG) this.config.write(offset, data);
    else if (region === RegionIndex.BAR0) this.bar0.bytes.set(data, offset);
    else if (region !== RegionIndex.VGA) this.#behind(region).set(data, offset);
  }

  reset(): void {
    this.events.push("reset");
    this.config.reset();
    this.bar0.bytes.fill(0);
  }

  connected(interrupts: Interrupts): void {
    this.events.push("connected");
    this.interrupts = interrupts;
  }

  disconnected(): void {
    this.events.push("disconnected");
    this.interrupts = undefined;
  }

  close(): void {
    this.shared.close();
  }

  #behind(region: number): Uint8Array {
    return this.shared.memory.bytes.subarray(region === RegionIndex.BAR2 ? 0 : BAR2_BYTES);
  }
}

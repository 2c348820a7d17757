// The HCA as a PCI function behind a vfio-user socket: configuration space, BARs with their shared memory, interrupts.
// Docs "infinihost" 1.1-1.3; "qemu-vfio-user", Regions.

import { AddressSpace } from "../base/address-space.ts";
import { newMemory } from "../base/bytes.ts";
import type { Log } from "../base/log.ts";
import type { InterruptSink } from "../hca/events.ts";
import { Hca } from "../hca/hca.ts";
import { MSIX_VECTORS, type Quota } from "../hca/limits.ts";
import { createSharedMemory, type OwnedSharedMemory } from "../host/shared-memory.ts";
import { ConfigSpace, msiX, pciExpressEndpoint, powerManagement } from "../pci/index.ts";
import { BAR0_BYTES, Bar0, MT25204, UAR_BYTES } from "../spec/hca/registers.ts";
import { IrqIndex, RegionIndex } from "../spec/vfio-user/numbers.ts";
import type { Network } from "../transport/network.ts";
import type { Interrupts, Region, VfioUserDevice } from "../vfio-user/device.ts";

const CONFIG_BYTES = 256;

export interface HcaFunctionOptions {
  name: string;
  network: Network;
  log: Log;
  /** False: no register and no UAR page may be mapped, every access is a message. */
  isMapped: boolean;
  counters: Float64Array;
  quota?: Partial<Quota> | undefined;
}

export class HcaFunction implements VfioUserDevice {
  readonly hca: Hca;
  readonly dma: AddressSpace;
  readonly regions: readonly (Region | undefined)[];
  readonly irqCounts: readonly number[];
  readonly #config: ConfigSpace;
  readonly #bar0: OwnedSharedMemory;
  readonly #bar2: OwnedSharedMemory;
  #interrupts: Interrupts | undefined;

  constructor(options: HcaFunctionOptions) {
    this.dma = new AddressSpace(newMemory(8));
    // Only the pages that are touched take memory; the rest of the megabyte is a hole.
    this.#bar0 = createSharedMemory(`vhca-${options.name}-bar0`, BAR0_BYTES);
    this.#bar2 = createSharedMemory(`vhca-${options.name}-uar`, UAR_BYTES);
    this.#config = newConfigSpace();
    this.regions = this.#regions(options.isMapped);
    this.irqCounts = irqCounts();
    this.hca = new Hca({
      name: options.name,
      network: options.network,
      dma: this.dma,
      registers: this.#bar0.shared.slice(Bar0.MAPPED, Bar0.MAPPED_BYTES),
      uar: this.#bar2.memory,
      interrupts: this.#interruptSink(),
      log: options.log,
      isMapped: options.isMapped,
      counters: options.counters,
      quota: options.quota ?? {},
    });
  }

  read(region: number, offset: number, target: Uint8Array): void {
    if (region === RegionIndex.CONFIG) this.#config.read(offset, target);
    else if (region === RegionIndex.BAR0) this.hca.readBar0(offset, target);
    else this.hca.readBar2(offset, target);
  }

  write(region: number, offset: number, data: Uint8Array): void {
    if (region === RegionIndex.CONFIG) this.#config.write(offset, data);
    else if (region === RegionIndex.BAR0) this.hca.writeBar0(offset, data);
    else if (region === RegionIndex.BAR2) this.hca.writeBar2(offset, data);
  }

  reset(): void {
    this.#config.reset();
    this.hca.reset();
  }

  connected(interrupts: Interrupts): void {
    this.#interrupts = interrupts;
  }

  disconnected(): void {
    this.#interrupts = undefined;
  }

  /** Takes the device apart; its memory goes with it. */
  destroy(): void {
    this.hca.destroy();
    this.#bar0.close();
    this.#bar2.close();
  }

  #interruptSink(): InterruptSink {
    return {
      msix: (vector) => {
        this.#interrupts?.signal(IrqIndex.MSIX, vector);
      },
      intx: (isAsserted) => {
        this.#config.setInterruptStatus(isAsserted);
        this.#interrupts?.setIntx(isAsserted);
      },
    };
  }

  #regions(isMapped: boolean): (Region | undefined)[] {
    const regions: (Region | undefined)[] = [];
    const access = { isReadable: true, isWritable: true };
    const areas = [{ offset: Bar0.MAPPED, sizeBytes: Bar0.MAPPED_BYTES }];
    regions[RegionIndex.BAR0] = {
      ...access,
      sizeBytes: BAR0_BYTES,
      ...(isMapped ? { mapping: { descriptor: this.#bar0.descriptor, offset: 0, areas } } : {}),
    };
    regions[RegionIndex.BAR2] = {
      ...access,
      sizeBytes: UAR_BYTES,
      ...(isMapped ? { mapping: { descriptor: this.#bar2.descriptor, offset: 0 } } : {}),
    };
    regions[RegionIndex.CONFIG] = { ...access, sizeBytes: CONFIG_BYTES };
    return Array.from(regions);
  }
}

function irqCounts(): number[] {
  const counts: number[] = [];
  counts[IrqIndex.INTX] = 1;
  counts[IrqIndex.MSIX] = MSIX_VECTORS;
  // Never raised, but QEMU warns about a device without it.
  counts[IrqIndex.ERR] = 1;
  return Array.from(counts, (count) => count ?? 0);
}

function newConfigSpace(): ConfigSpace {
  return new ConfigSpace({
    vendorId: MT25204.vendorId,
    deviceId: MT25204.deviceId,
    revision: MT25204.revision,
    classCode: MT25204.classCode,
    interruptPin: 1,
    bars: [
      { sizeBytes: BAR0_BYTES, kind: "memory64" },
      undefined,
      { sizeBytes: UAR_BYTES, kind: "memory64", isPrefetchable: true },
    ],
    capabilities: [
      powerManagement(),
      // Real parts have an access window at 0x58; capabilities stay clear of it (1.3).
      msiX({ vectorCount: MSIX_VECTORS, tableBar: 0, tableOffset: Bar0.MSIX_TABLE, pbaBar: 0, pbaOffset: Bar0.MSIX_PBA }, 0x84),
      pciExpressEndpoint({ width: 8 }, 0x60),
    ],
  });
}

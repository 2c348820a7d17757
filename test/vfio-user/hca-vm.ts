// A whole HCA behind its socket, in this thread and under a simulated clock: the device domain, and VMs that speak vfio-user to it
// and have the library's driver. A VM takes its memory away when the test says so.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Memory } from "../../src/base/bytes.ts";
import { SimClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { Random } from "../../src/base/random.ts";
import { DeviceDomain } from "../../src/domain/device-domain.ts";
import type { HcaView } from "../../src/domain/plugged-hca.ts";
import type { DeviceAccess } from "../../src/driver/access.ts";
import { Device } from "../../src/driver/device.ts";
import { ManagementAgent } from "../../src/driver/management-agent.ts";
import { createEventfd, drainEventfd } from "../../src/host/eventfd.ts";
import { closeDescriptor } from "../../src/host/libc.ts";
import { createSharedMemory, type OwnedSharedMemory } from "../../src/host/shared-memory.ts";
import { UAR_PAGE_BYTES } from "../../src/spec/hca/registers.ts";
import { PortState } from "../../src/spec/ib/numbers.ts";
import { IrqIndex, RegionIndex } from "../../src/spec/vfio-user/numbers.ts";
import { VfioUserClient } from "../../src/vfio-user/index.ts";

const DMA_BASE = 0x10_0000;
const VECTORS = 3;
const SWEEPS = 20_000;
const BRING_UP_STEPS = 2000;

/** A domain whose time passes when the test lets it. */
export class TestDomain {
  readonly clock = new SimClock();
  readonly domain: DeviceDomain;
  readonly #folder = mkdtempSync(join(tmpdir(), "vhca-hca-"));

  constructor(...names: readonly string[]) {
    this.domain = new DeviceDomain({ clock: this.clock, log: silentLog, random: new Random(1), sm: "builtin" });
    for (const name of names) this.domain.addHca({ name, socketPath: this.path(name), doorbells: "trapped" });
  }

  path(name: string): string {
    return join(this.#folder, name);
  }

  view(name: string): HcaView {
    const view = this.domain.describe().hcas.find((hca) => hca.name === name);
    assert.ok(view);
    return view;
  }

  /** One sweep, sockets included. */
  sweep(): number {
    return this.domain.sweep(this.clock.nowNs());
  }

  /** Sweeps until there is nothing to do at this time. */
  settle(): void {
    for (let i = 0; i < SWEEPS; i++) if (this.sweep() === 0) return;
  }

  elapse(ns: number, steps = 20): void {
    for (let i = 0; i < steps; i++) {
      this.clock.advanceNs(ns / steps);
      this.settle();
    }
  }

  close(): void {
    this.domain.close();
    rmSync(this.#folder, { recursive: true });
  }
}

/** A VM with a driver and an active port. */
export class TestVm implements DeviceAccess {
  readonly dmaBase = DMA_BASE;
  readonly memory: Memory;
  readonly client: VfioUserClient;
  readonly device: Device;
  readonly ram: OwnedSharedMemory;
  readonly #domain: TestDomain;
  readonly #eventfds = Array.from({ length: VECTORS }, createEventfd);
  readonly #handlers: (() => void)[] = [];
  #isClosed = false;

  constructor(domain: TestDomain, name: string, memoryBytes: number) {
    this.#domain = domain;
    this.client = new VfioUserClient(domain.path(name), { whileWaiting: () => void domain.sweep() });
    this.ram = createSharedMemory("guest", memoryBytes);
    this.memory = this.ram.memory;
    this.mapAll();
    this.client.setEventfds(IrqIndex.MSIX, 0, this.#eventfds);
    this.device = new Device(this, { logQps: 12, logCqs: 12, logMpts: 12, mtts: 8192 });
    const agent = new ManagementAgent(this.device);
    for (let step = 0; domain.view(name).portState !== PortState.ACTIVE; step++) {
      assert.ok(step < BRING_UP_STEPS, `${name}: port ${domain.view(name).portState}`);
      domain.clock.advanceNs(1_000_000);
      this.settle();
      agent.run();
    }
  }

  mapAll(): void {
    this.client.dmaMap({ address: DMA_BASE, sizeBytes: this.memory.bytes.length, descriptor: this.ram.descriptor });
  }

  unmapAll(): void {
    this.client.dmaUnmap(DMA_BASE, this.memory.bytes.length);
  }

  readRegister(offset: number): number {
    return Buffer.from(this.client.read(RegionIndex.BAR0, offset, 4)).readInt32BE();
  }

  writeRegister(offset: number, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32BE(value | 0);
    this.client.write(RegionIndex.BAR0, offset, bytes);
  }

  uarPage(): undefined {}

  writeDoorbell(page: number, offset: number, hi: number, lo: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeInt32BE(hi | 0, 0);
    bytes.writeInt32BE(lo | 0, 4);
    this.client.write(RegionIndex.BAR2, page * UAR_PAGE_BYTES + offset, bytes);
  }

  settle(): void {
    this.#domain.settle();
    this.#eventfds.forEach((fd, vector) => {
      if (drainEventfd(fd) > 0) this.#handlers[vector]?.();
    });
  }

  background: () => number = () => 0;
  readonly isGone = false;

  poll(): number {
    this.settle();
    return this.background();
  }

  wait(): Promise<void> {
    return Promise.resolve();
  }

  onInterrupt(vector: number, handler: () => void): void {
    this.#handlers[vector] = handler;
  }

  onIntx(): void {
    throw new Error("this VM uses MSI-X");
  }

  /** Disappears, as a VM that is killed does. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.client.close();
    for (const fd of this.#eventfds) closeDescriptor(fd);
    this.ram.close();
  }
}

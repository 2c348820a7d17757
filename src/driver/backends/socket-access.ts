// Register access to an HCA behind a vfio-user socket: this process is the VM. BAR 2 and the register pages are mapped if the
// device allows it, so doorbells and commands are plain stores; otherwise every access is a message.

import { loadBig32, type Memory, publishWord, sliceOf, storeBig32, swap32 } from "../../base/bytes.ts";
import { createEventfd, drainEventfd } from "../../host/eventfd.ts";
import { closeDescriptor, PollEvent } from "../../host/libc.ts";
import { Poller, waitForAny } from "../../host/poller.ts";
import { createSharedMemory, type OwnedSharedMemory } from "../../host/shared-memory.ts";
import { UAR_PAGE_BYTES } from "../../spec/hca/registers.ts";
import { IrqIndex, RegionIndex } from "../../spec/vfio-user/numbers.ts";
import { type MappedArea, VfioUserClient } from "../../vfio-user/client.ts";
import { type DeviceAccess, DriverError } from "../access.ts";

const DMA_BASE = 0x10_0000;
const VECTORS = 3;
/** How long `settle` waits for an interrupt before it says that nothing has come. */
const SETTLE_NS = 2_000_000;

export class SocketAccess implements DeviceAccess {
  readonly memory: Memory;
  readonly dmaBase = DMA_BASE;
  readonly #client: VfioUserClient;
  readonly #ram: OwnedSharedMemory;
  readonly #bar0: readonly MappedArea[];
  readonly #bar2: readonly MappedArea[];
  readonly #eventfds: number[];
  readonly #handlers: (() => void)[] = [];
  readonly #poller = new Poller(VECTORS + 1);
  background: () => number = () => 0;
  #wait: Promise<void> | undefined;
  #isGone = false;
  #isClosed = false;

  /**
   * Connects to the device and gives it `memoryBytes` of DMA memory.
   * @throws SystemError if nobody listens at `path`
   */
  constructor(path: string, memoryBytes: number) {
    this.#client = new VfioUserClient(path);
    this.#ram = createSharedMemory("vhca-guest", memoryBytes);
    this.memory = this.#ram.memory;
    this.#client.dmaMap({
      address: DMA_BASE,
      sizeBytes: memoryBytes,
      descriptor: this.#ram.descriptor,
      offset: 0,
      isWritable: true,
    });
    this.#bar0 = this.#map(RegionIndex.BAR0);
    this.#bar2 = this.#map(RegionIndex.BAR2);
    this.#eventfds = Array.from({ length: VECTORS }, createEventfd);
    this.#client.setEventfds(IrqIndex.MSIX, 0, this.#eventfds);
  }

  #map(region: number): readonly MappedArea[] {
    return this.#client.regionInfo(region).areas.length > 0 ? this.#client.mapRegion(region) : [];
  }

  /** True if doorbells are plain stores. */
  get isMapped(): boolean {
    return this.#bar2.length > 0;
  }

  readRegister(offset: number): number {
    const area = areaOf(this.#bar0, offset, 4);
    if (area !== undefined) return loadBig32(area.memory, offset - area.offset) >>> 0;
    const bytes = this.#client.read(RegionIndex.BAR0, offset, 4);
    return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, false);
  }

  writeRegister(offset: number, value: number): void {
    const area = areaOf(this.#bar0, offset, 4);
    if (area !== undefined) {
      // One store: GO of a command must not be seen beside the opcode of the one before.
      publishWord(area.memory, offset - area.offset, swap32(value));
      return;
    }
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, false);
    this.#client.write(RegionIndex.BAR0, offset, bytes);
  }

  uarPage(page: number): Memory | undefined {
    const at = page * UAR_PAGE_BYTES;
    const area = areaOf(this.#bar2, at, UAR_PAGE_BYTES);
    return area === undefined ? undefined : sliceOf(area.memory, at - area.offset, UAR_PAGE_BYTES);
  }

  writeDoorbell(page: number, offset: number, hi: number, lo: number): void {
    const at = page * UAR_PAGE_BYTES + offset;
    const area = areaOf(this.#bar2, at, 8);
    if (area !== undefined) {
      storeBig32(area.memory, at - area.offset, hi);
      storeBig32(area.memory, at - area.offset + 4, lo);
      return;
    }
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, hi, false);
    view.setUint32(4, lo, false);
    this.#client.write(RegionIndex.BAR2, at, bytes);
  }

  /** Waits for an interrupt, for a short time, and runs the handlers of those that have come. */
  settle(): void {
    this.#attend(SETTLE_NS);
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  poll(): number {
    return this.#attend(0) + this.background();
  }

  /** Runs the handlers of interrupts that have come, or come within the time; returns how many. */
  #attend(timeoutNs: number): number {
    if (this.#isGone) return 0;
    const poller = this.#poller;
    poller.clear();
    for (const fd of this.#eventfds) poller.add(fd, PollEvent.IN);
    const socket = poller.add(this.#client.descriptor, PollEvent.IN);
    if (poller.wait(timeoutNs) === 0) return 0;
    let count = 0;
    this.#eventfds.forEach((fd, vector) => {
      if (poller.eventsOf(vector) === 0 || drainEventfd(fd) === 0) return;
      count++;
      this.#handlers[vector]?.();
    });
    if (poller.eventsOf(socket) !== 0) this.#isGone = this.#client.hasServerGone();
    return count;
  }

  /** All who wait at the same time share one wait. */
  wait(timeoutMs: number): Promise<void> {
    this.#wait ??= waitForAny([...this.#eventfds, this.#client.descriptor], timeoutMs).finally(() => {
      this.#wait = undefined;
    });
    return this.#wait;
  }

  onInterrupt(vector: number, handler: () => void): void {
    this.#handlers[vector] = handler;
  }

  /** Takes all memory away from the device, as a VMM does that shuts down or unplugs memory. */
  unmapMemory(): void {
    this.#client.dmaUnmapAll();
  }

  onIntx(): void {
    throw new DriverError("ENOSYS", "INTx over a socket is not supported here: use MSI-X");
  }

  /** Disconnects, as a VM that ends does. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isGone = true;
    this.#client.close();
    for (const fd of this.#eventfds) closeDescriptor(fd);
    this.#ram.close();
  }
}

/** The mapped area that holds [offset, offset + length). */
function areaOf(areas: readonly MappedArea[], offset: number, length: number): MappedArea | undefined {
  for (const area of areas) if (offset >= area.offset && offset + length <= area.offset + area.sizeBytes) return area;
  return undefined;
}

// A PCI device in TypeScript, plugged into a stock VM (QEMU 10.1 or later):
//
//   node examples/vfio-user-device.ts /tmp/x.sock
//   qemu-system-x86_64 … -object memory-backend-memfd,id=m,size=512M,share=on -machine q35,memory-backend=m \
//     -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/x.sock"}}'
//
// In the guest, `lspci -nn` shows 1af4:10f1. Its BAR 0 has three registers of 32 bits:
//   0x00  reads "vhca"
//   0x04  keeps what is written to it
//   0x08  a write of n interrupts with MSI-X vector n (0..3); reads how often that has happened

import { ConfigSpace, msiX, PciClass, powerManagement } from "../src/pci/index.ts";
import {
  AddressSpace,
  type Interrupts,
  IrqIndex,
  newMemory,
  type Region,
  RegionIndex,
  serve,
  type VfioUserDevice,
} from "../src/vfio-user/index.ts";

const BAR0_BYTES = 8192;
const VECTORS = 4;
const Register = { ID: 0x00, SCRATCH: 0x04, RING: 0x08 } as const;

class ExampleDevice implements VfioUserDevice {
  readonly dma = new AddressSpace(newMemory(8));
  // INTx, MSI, MSI-X, and an error vector: QEMU warns about devices that have none
  readonly irqCounts = [0, 0, VECTORS, 1];
  readonly regions: (Region | undefined)[] = [];
  readonly #registers = newMemory(BAR0_BYTES);
  readonly #config = new ConfigSpace({
    vendorId: 0x1af4,
    deviceId: 0x10f1,
    classCode: PciClass.OTHER,
    bars: [{ sizeBytes: BAR0_BYTES }],
    // the VM keeps the MSI-X table itself; the device only says where it would be
    capabilities: [powerManagement(), msiX({ vectorCount: VECTORS, tableBar: 0, tableOffset: 4096, pbaBar: 0, pbaOffset: 6144 })],
  });
  #interrupts: Interrupts | undefined;

  constructor() {
    this.regions[RegionIndex.BAR0] = { sizeBytes: BAR0_BYTES, isReadable: true, isWritable: true };
    this.regions[RegionIndex.CONFIG] = { sizeBytes: 256, isReadable: true, isWritable: true };
    this.reset();
  }

  read(region: number, offset: number, target: Uint8Array): void {
    if (region === RegionIndex.CONFIG) this.#config.read(offset, target);
    else target.set(this.#registers.bytes.subarray(offset, offset + target.length));
  }

  write(region: number, offset: number, data: Uint8Array): void {
    if (region === RegionIndex.CONFIG) this.#config.write(offset, data);
    else if (offset === Register.SCRATCH && data.length === 4) this.#registers.bytes.set(data, offset);
    else if (offset === Register.RING) this.#ring(data[0] ?? 0);
  }

  reset(): void {
    this.#config.reset();
    this.#registers.bytes.fill(0).write("vhca", Register.ID);
  }

  connected(interrupts: Interrupts): void {
    this.#interrupts = interrupts;
  }

  disconnected(): void {
    this.#interrupts = undefined;
  }

  #ring(vector: number): void {
    if (vector >= VECTORS) return;
    const { view } = this.#registers;
    view.setUint32(Register.RING, view.getUint32(Register.RING, true) + 1, true);
    this.#interrupts?.signal(IrqIndex.MSIX, vector);
  }
}

const path = process.argv[2];
if (path === undefined) {
  console.error("usage: node examples/vfio-user-device.ts SOCKET-PATH");
  process.exit(2);
}
const log = { debug: () => {}, info: console.log, warn: console.warn };
const serving = serve(new ExampleDevice(), { path, log });
process.once("SIGINT", serving.close);
process.once("SIGTERM", serving.close);
console.log(`serving on ${path}`);
await serving.closed;

// The 256 bytes of configuration space of a PCI function with header type 0 (PCI Local Bus Specification 3.0, 6.1).
//
// Every byte has three masks: what software can set and clear, what it clears by writing 1, and the rest, which it cannot
// change. That is all there is to BAR sizing too: writing ones to an address register leaves the size mask behind (6.2.5.1).
// A VMM that sizes BARs by itself and passes its writes on does no harm.

import { CapabilityId, MsiX } from "../spec/pci/capabilities.ts";
import {
  BAR_IO_ADDRESS_MASK,
  BAR_MEMORY_ADDRESS_MASK,
  CONFIG_BYTES,
  CONFIG_HEADER_BYTES,
  ConfigHeader,
  PCI_STATUS_W1C,
  PciCommand,
  PciStatus,
} from "../spec/pci/config.ts";
import { assertBars, type Bar, barFlags, is64Bit, isIo } from "./bar.ts";
import type { Capability } from "./capability.ts";

/** What a function says about itself. */
export interface PciFunctionDescription {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly revision?: number;
  /** Base class, sub-class, programming interface, such as 0x0c0600 (`PciClass`). */
  readonly classCode: number;
  /** The vendor and device ids if left out. */
  readonly subsystemVendorId?: number;
  readonly subsystemId?: number;
  /** By register, at most 6. */
  readonly bars?: readonly (Bar | undefined)[];
  /** 1 to 4 for INTA to INTD; 0, none, if left out. */
  readonly interruptPin?: number;
  readonly capabilities?: readonly Capability[];
}

const BAR0_AT = ConfigHeader.bar0.offset;
/** Each register is 4 bytes. */
const barAt = (index: number): number => BAR0_AT + index * 4;

export class ConfigSpace {
  readonly #initial = new Uint8Array(CONFIG_BYTES);
  readonly #writable = new Uint8Array(CONFIG_BYTES);
  readonly #clearedByOne = new Uint8Array(CONFIG_BYTES);
  readonly #bytes = new Uint8Array(CONFIG_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #bars: readonly (Bar | undefined)[];
  readonly #capabilityAt = new Map<number, number>();

  /** @throws Error if the description is impossible. */
  constructor(description: PciFunctionDescription) {
    this.#bars = description.bars ?? [];
    assertBars(this.#bars);
    this.#describe(description);
    this.#bars.forEach((bar, index) => {
      if (bar !== undefined) this.#declareBar(index, bar);
    });
    this.#placeCapabilities(description.capabilities ?? []);
    this.reset();
  }

  /** Back to the values after power-on. */
  reset(): void {
    this.#bytes.set(this.#initial);
  }

  /** Reads `target.length` bytes from `offset`; beyond the end, ones. */
  read(offset: number, target: Uint8Array): void {
    for (let i = 0; i < target.length; i++) target[i] = this.#bytes[offset + i] ?? 0xff;
  }

  /** Writes as software does: only what may change changes. */
  write(offset: number, data: Uint8Array): void {
    for (let i = 0; i < data.length && offset + i < CONFIG_BYTES; i++) {
      const at = offset + i;
      const given = data[i] ?? 0;
      const writable = this.#writable[at] ?? 0;
      const cleared = given & (this.#clearedByOne[at] ?? 0);
      this.#bytes[at] = (((this.#bytes[at] ?? 0) & ~writable) | (given & writable)) & ~cleared;
    }
  }

  /** The address software has given a BAR; 0 until then. */
  barAddress(index: number): number {
    const bar = this.#bars[index];
    if (bar === undefined) throw new Error(`PCI: there is no BAR ${index}`);
    const low = this.#view.getUint32(barAt(index), true);
    if (isIo(bar)) return (low & BAR_IO_ADDRESS_MASK) >>> 0;
    const high = is64Bit(bar) ? this.#view.getUint32(barAt(index + 1), true) : 0;
    return high * 2 ** 32 + ((low & BAR_MEMORY_ADDRESS_MASK) >>> 0);
  }

  get isMemoryEnabled(): boolean {
    return this.#hasCommand(PciCommand.MEMORY_SPACE);
  }

  get isBusMaster(): boolean {
    return this.#hasCommand(PciCommand.BUS_MASTER);
  }

  get isIntxDisabled(): boolean {
    return this.#hasCommand(PciCommand.INTERRUPT_DISABLE);
  }

  /** The Interrupt Status bit: a function sets it as long as it asserts INTx (3.0, 6.2.3). */
  setInterruptStatus(isAsserted: boolean): void {
    const status = ConfigHeader.status.get(this.#view, 0);
    ConfigHeader.status.set(this.#view, 0, isAsserted ? status | PciStatus.INTERRUPT : status & ~PciStatus.INTERRUPT);
  }

  /** Sets error bits of the status register (`PCI_STATUS_W1C`), until software clears them. */
  raiseStatus(bits: number): void {
    ConfigHeader.status.set(this.#view, 0, ConfigHeader.status.get(this.#view, 0) | (bits & PCI_STATUS_W1C));
  }

  /** MSI-X is there and switched on. */
  get isMsiXEnabled(): boolean {
    const at = this.#capabilityAt.get(CapabilityId.MSI_X);
    return at !== undefined && MsiX.enable.get(this.#view, at) === 1;
  }

  /** All MSI-X vectors are masked at once. */
  get isMsiXMasked(): boolean {
    const at = this.#capabilityAt.get(CapabilityId.MSI_X);
    return at !== undefined && MsiX.functionMask.get(this.#view, at) === 1;
  }

  /** Where a capability stands, or undefined. */
  findCapability(id: number): number | undefined {
    return this.#capabilityAt.get(id);
  }

  #hasCommand(bit: number): boolean {
    return (ConfigHeader.command.get(this.#view, 0) & bit) !== 0;
  }

  #describe(description: PciFunctionDescription): void {
    const initial = new DataView(this.#initial.buffer);
    const writable = new DataView(this.#writable.buffer);
    ConfigHeader.vendorId.set(initial, 0, description.vendorId);
    ConfigHeader.deviceId.set(initial, 0, description.deviceId);
    ConfigHeader.revision.set(initial, 0, description.revision ?? 0);
    ConfigHeader.classCode.set(initial, 0, description.classCode);
    ConfigHeader.subsystemVendorId.set(initial, 0, description.subsystemVendorId ?? description.vendorId);
    ConfigHeader.subsystemId.set(initial, 0, description.subsystemId ?? description.deviceId);
    ConfigHeader.interruptPin.set(initial, 0, description.interruptPin ?? 0);
    ConfigHeader.cacheLineSize.set(writable, 0, 0xff);
    ConfigHeader.interruptLine.set(writable, 0, 0xff);
    const hasIo = this.#bars.some((bar) => bar !== undefined && isIo(bar));
    const enables = PciCommand.MEMORY_SPACE | (hasIo ? PciCommand.IO_SPACE : 0) | PciCommand.BUS_MASTER;
    const reactions = PciCommand.PARITY_ERROR_RESPONSE | PciCommand.SERR_ENABLE | PciCommand.INTERRUPT_DISABLE;
    ConfigHeader.command.set(writable, 0, enables | reactions);
    ConfigHeader.status.set(new DataView(this.#clearedByOne.buffer), 0, PCI_STATUS_W1C);
  }

  #declareBar(index: number, bar: Bar): void {
    const initial = new DataView(this.#initial.buffer);
    const writable = new DataView(this.#writable.buffer);
    initial.setUint32(barAt(index), barFlags(bar), true);
    const addressMask = isIo(bar) ? BAR_IO_ADDRESS_MASK : BAR_MEMORY_ADDRESS_MASK;
    // the address bits above the size can be written, those below are zero
    const sizeMask = bar.sizeBytes < 2 ** 32 ? -bar.sizeBytes : 0;
    writable.setUint32(barAt(index), sizeMask & addressMask, true);
    if (is64Bit(bar)) writable.setInt32(barAt(index + 1), bar.sizeBytes <= 2 ** 32 ? -1 : -(bar.sizeBytes / 2 ** 32), true);
  }

  /** Links the capabilities in the order given, each at its own place or the next free multiple of 4. */
  #placeCapabilities(capabilities: readonly Capability[]): void {
    let free = CONFIG_HEADER_BYTES;
    let link = ConfigHeader.capabilities.offset;
    const taken = new Uint8Array(CONFIG_BYTES).fill(1, 0, CONFIG_HEADER_BYTES);
    for (const { id, initial, writable, clearedByOne, at = free } of capabilities) {
      const end = at + initial.length;
      if (at % 4 !== 0 || end > CONFIG_BYTES || taken.subarray(at, end).includes(1)) {
        throw new Error(`PCI: capability 0x${id.toString(16)}: no room for its ${initial.length} bytes at 0x${at.toString(16)}`);
      }
      taken.fill(1, at, end);
      this.#initial.set(initial, at);
      this.#writable.set(writable, at);
      this.#clearedByOne.set(clearedByOne, at);
      this.#initial[link] = at;
      link = at + 1;
      if (!this.#capabilityAt.has(id)) this.#capabilityAt.set(id, at);
      free = (end + 3) & ~3;
    }
    if (capabilities.length > 0) ConfigHeader.status.set(new DataView(this.#initial.buffer), 0, PciStatus.CAPABILITIES_LIST);
  }
}

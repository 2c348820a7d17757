// The MSI-X table and pending-bit array of a function (PCI Express Base Specification 5.0, 7.7.2 and 6.1.4), for drivers that
// run without a VMM: under QEMU the VMM keeps the table and this is not used.

import { MSIX_MAX_VECTORS, MsiXEntry } from "../spec/pci/capabilities.ts";

/** Called to deliver a vector: a write of `data` to the 64-bit address hi:lo. */
export type DeliverMessage = (vector: number, addressHi: number, addressLo: number, data: number) => void;

const VECTOR_CONTROL_AT = MsiXEntry.masked.offset;

export class MsiXTable {
  readonly vectorCount: number;
  /** Sizes of the two structures in their BARs. */
  readonly tableBytes: number;
  readonly pbaBytes: number;
  readonly #table: Uint8Array;
  readonly #view: DataView;
  readonly #pba: Uint8Array;
  readonly #deliver: DeliverMessage;
  #isEnabled = false;
  #isMasked = false;

  constructor(vectorCount: number, deliver: DeliverMessage) {
    if (!(vectorCount >= 1 && vectorCount <= MSIX_MAX_VECTORS)) {
      throw new Error(`PCI: MSI-X: expected 1 to ${MSIX_MAX_VECTORS} vectors, got ${vectorCount}`);
    }
    this.vectorCount = vectorCount;
    this.tableBytes = vectorCount * MsiXEntry.byteLength;
    this.pbaBytes = Math.ceil(vectorCount / 64) * 8;
    this.#table = new Uint8Array(this.tableBytes);
    this.#view = new DataView(this.#table.buffer);
    this.#pba = new Uint8Array(this.pbaBytes);
    this.#deliver = deliver;
    this.reset();
  }

  /** All vectors masked, none pending, MSI-X off. */
  reset(): void {
    this.#table.fill(0);
    this.#pba.fill(0);
    for (let vector = 0; vector < this.vectorCount; vector++) MsiXEntry.masked.set(this.#view, vector * MsiXEntry.byteLength, 1);
    this.setControl(false, false);
  }

  /** The message control bits in configuration space have changed (`ConfigSpace.isMsiXEnabled`, `isMsiXMasked`). */
  setControl(isEnabled: boolean, isMasked: boolean): void {
    this.#isEnabled = isEnabled;
    this.#isMasked = isMasked;
    this.#deliverPending();
  }

  readTable(offset: number, target: Uint8Array): void {
    target.set(this.#table.subarray(offset, offset + target.length));
  }

  readPba(offset: number, target: Uint8Array): void {
    target.set(this.#pba.subarray(offset, offset + target.length));
  }

  /** Writes to the table; unmasking a pending vector delivers it. The PBA cannot be written. */
  writeTable(offset: number, data: Uint8Array): void {
    for (let i = 0; i < data.length && offset + i < this.tableBytes; i++) {
      const inEntry = (offset + i) % MsiXEntry.byteLength;
      const given = data[i] ?? 0;
      // of the vector control word only the mask bit exists
      this.#table[offset + i] = inEntry < VECTOR_CONTROL_AT ? given : inEntry === VECTOR_CONTROL_AT ? given & 1 : 0;
    }
    this.#deliverPending();
  }

  /** Raises a vector: delivered, or pending while it is masked. Nothing happens while MSI-X is off. Returns whether delivered. */
  signal(vector: number): boolean {
    if (!this.#isEnabled || !(vector >= 0 && vector < this.vectorCount)) return false;
    const at = vector * MsiXEntry.byteLength;
    if (this.#isMasked || MsiXEntry.masked.get(this.#view, at) === 1) {
      this.#setPending(vector, true);
      return false;
    }
    const { addressHi, addressLo, data } = MsiXEntry;
    this.#deliver(vector, addressHi.get(this.#view, at), addressLo.get(this.#view, at), data.get(this.#view, at));
    return true;
  }

  isPending(vector: number): boolean {
    return ((this.#pba[vector >> 3] ?? 0) & (1 << (vector & 7))) !== 0;
  }

  #setPending(vector: number, isPending: boolean): void {
    const byte = this.#pba[vector >> 3] ?? 0;
    const bit = 1 << (vector & 7);
    this.#pba[vector >> 3] = isPending ? byte | bit : byte & ~bit;
  }

  #deliverPending(): void {
    if (!this.#isEnabled || this.#isMasked) return;
    for (let vector = 0; vector < this.vectorCount; vector++) {
      if (!this.isPending(vector)) continue;
      this.#setPending(vector, false);
      this.signal(vector);
    }
  }
}

// Wires of a fabric that is just there: every port ACTIVE, LIDs counted from 1, no management. For tests of device and transport
// alone.

import { newCounters } from "../../src/base/counters.ts";
import { PortState } from "../../src/spec/ib/numbers.ts";
import { PortCounter, SL_COUNT } from "../../src/spec/ib/port-counters.ts";
import type { MadContext, Wire } from "../../src/transport/wire.ts";

export class StubWire implements Wire {
  readonly index: number;
  readonly lid: number;
  readonly lmc: number;
  readonly smLid = 1;
  state: number = PortState.ACTIVE;
  readonly mtuCode = 4;
  readonly pkeys = new Uint16Array(64);
  readonly usablePkeys = this.pkeys;
  readonly gids = new Uint8Array(32 * 16);
  readonly gidCount = 32;
  readonly counters = newCounters(PortCounter);
  readonly slData = new Float64Array(2 * SL_COUNT);
  epoch = 0;
  readonly sent: Uint8Array[] = [];
  /** All wires of the fabric, this one included. */
  readonly #all: StubWire[];

  readonly #cutLids = new Set<number>();

  constructor(all: StubWire[], lmc = 0) {
    this.index = all.length;
    this.lmc = lmc;
    this.lid = (this.index + 1) << lmc;
    this.#all = all;
    this.pkeys[0] = 0xffff;
    new DataView(this.gids.buffer).setBigUint64(0, 0xfe80000000000000n);
    new DataView(this.gids.buffer).setBigUint64(8, BigInt(0x0002c90300000000 + this.lid));
    all.push(this);
  }

  /** Called for every datagram: allocates nothing, not even a closure. */
  resolve(dlid: number): number {
    for (let i = 0; i < this.#all.length; i++) {
      const wire = this.#all[i]!;
      if (wire.lid >>> wire.lmc === dlid >>> wire.lmc && wire.isReachable(dlid)) return wire.index;
    }
    return -1;
  }

  resolveMulticast(_dlid: number, out: Int32Array): number {
    let count = 0;
    for (const wire of this.#all) if (wire !== this) out[count++] = wire.index;
    return count;
  }

  readonly hasFaultyFabric = false;

  crossesFaults(): boolean {
    return false;
  }

  countsHops(): boolean {
    return false;
  }

  countPath(): void {}

  passFaults(): number {
    return 0;
  }

  passFaultsToGroup(dlid: number, _sl: number, _words: number, out: Int32Array, delaysNs: Float64Array): number {
    delaysNs.fill(0);
    return this.resolveMulticast(dlid, out);
  }

  transmit(packet: Uint8Array): void {
    this.sent.push(packet.slice());
  }

  isReachable(lid: number): boolean {
    return this.state === PortState.ACTIVE && !this.#cutLids.has(lid);
  }

  /** Packets to one of this port's LIDs no longer arrive. */
  cut(lid: number): void {
    this.#cutLids.add(lid);
    this.setState(this.state);
  }

  setState(state: number): void {
    this.state = state;
    for (const wire of this.#all) wire.epoch++;
  }

  enable(): void {}
  disable(): void {}
  setCapabilityMask(): void {}
  resetQkeyViolations(): void {}
  countQkeyViolation(): void {}
  countPkeyViolation(): void {}

  processMad(_request: Uint8Array, _response: Uint8Array, _context: MadContext): boolean {
    return false;
  }
}

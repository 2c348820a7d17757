// Reads the ports of switches: SwitchInfo, PortStateChange cleared, PortInfo of every port. IBA vol 1, 14.2.5.4, 14.2.5.6. One scan of a switch at
// a time, not too often, and of a large subnet a few ports at a time.

import { NS_PER_MS, NS_PER_S } from "../base/clock.ts";
import { bytesOf } from "../mad/mad.ts";
import { SmAttribute } from "../spec/mad/numbers.ts";
import { SwitchInfo } from "../spec/mad/sm-attributes.ts";
import { type SmpClient, SmpGroup } from "./smp-client.ts";
import type { Subnet, SubnetNode, SubnetPort, SwitchState } from "./subnet.ts";

/** After a burst, one switch is scanned every 20 ms at most: a flapping port cannot keep the manager busy. */
const SCAN_INTERVAL_NS = 20 * NS_PER_MS;
const SCAN_BURST = 50;
/** After a scan with unanswered parts the switch is scanned again, not before this. */
const RESCAN_NS = NS_PER_S;

export interface ScanCounts {
  scans: number;
  delayedScans: number;
}

/** A switch whose ports are being read. */
interface PortReads {
  readonly node: SubnetNode;
  readonly state: SwitchState;
  /** Port to be asked for next. */
  next: number;
  /** Ports that have not answered or timed out yet. */
  left: number;
  isComplete: boolean;
}

export class SwitchScanner {
  readonly #counts: ScanCounts;
  readonly #subnet: Subnet;
  readonly #smps: SmpClient;
  readonly #onPort: (port: SubnetPort, info: DataView, nowNs: number) => void;
  readonly #onChange: () => void;
  readonly #delayedScans: Set<SubnetNode> = new Set();
  /** Switches whose ports are to be read, from `#readsHead`. */
  #reads: PortReads[] = [];
  #readsHead = 0;
  /** No delayed scan is due earlier; it may be stale. */
  #earliestNs = Number.POSITIVE_INFINITY;

  /**
   * @param onPort PortInfo of a port, just read
   * @param onChange the picture has changed
   */
  constructor(
    subnet: Subnet,
    smps: SmpClient,
    counts: ScanCounts,
    onPort: (port: SubnetPort, info: DataView, nowNs: number) => void,
    onChange: () => void,
  ) {
    this.#subnet = subnet;
    this.#smps = smps;
    this.#counts = counts;
    this.#onPort = onPort;
    this.#onChange = onChange;
  }

  /** Reads every port of a switch, now or as soon as its rate limit allows. */
  scan(node: SubnetNode, nowNs: number): void {
    const state = node.switch;
    if (state === undefined) return;
    if (state.isScanning) {
      state.isScanStale = true;
      return;
    }
    if (nowNs < scanDueNs(state)) {
      this.#counts.delayedScans++;
      this.#delayedScans.add(node);
      this.#earliestNs = Math.min(this.#earliestNs, scanDueNs(state));
      return;
    }
    state.scansPaidAtNs = Math.max(state.scansPaidAtNs, nowNs) + SCAN_INTERVAL_NS;
    state.isScanning = true;
    state.isScanStale = false;
    this.#counts.scans++;
    this.#smps.get(node, SmpGroup.DISCOVERY, SmAttribute.SWITCH_INFO, 0, nowNs, (data, now) => {
      if (data === undefined) this.#endScan(node, now);
      else this.#scanPorts(node, data, now);
    });
  }

  /** Begins the scans that had to wait. */
  step(nowNs: number): void {
    if (nowNs < this.#earliestNs) return;
    this.#earliestNs = Number.POSITIVE_INFINITY;
    for (const node of [...this.#delayedScans]) {
      const dueNs = node.switch === undefined ? 0 : scanDueNs(node.switch);
      if (dueNs > nowNs) {
        this.#earliestNs = Math.min(this.#earliestNs, dueNs);
        continue;
      }
      this.#delayedScans.delete(node);
      if (this.#subnet.has(node)) this.scan(node, nowNs);
    }
  }

  nextDeadlineNs(): number {
    return this.#earliestNs;
  }

  /** Two Sets by different ways may have overtaken each other: what the switch says it has is what counts. */
  checkSettings(state: SwitchState, data: DataView): void {
    const top = SwitchInfo.linearFdbTop.get(data, 0);
    if (top === SwitchInfo.linearFdbTop.get(state.info, 0)) return;
    SwitchInfo.linearFdbTop.set(state.info, 0, top);
    this.#onChange();
  }

  #scanPorts(node: SubnetNode, data: DataView, nowNs: number): void {
    const state = node.switch;
    if (state === undefined) return;
    bytesOf(state.info).set(bytesOf(data).subarray(0, SwitchInfo.byteLength));
    if (SwitchInfo.portStateChange.get(data, 0) === 1) {
      // the 1 clears the bit, before the ports are read
      const clearing = (): Uint8Array => {
        const info = new DataView(bytesOf(state.info).slice().buffer);
        state.putSettings(info);
        SwitchInfo.portStateChange.set(info, 0, 1);
        return bytesOf(info);
      };
      this.#smps.set(node, SmpGroup.DISCOVERY, SmAttribute.SWITCH_INFO, 0, clearing, nowNs, (answer) => {
        if (answer !== undefined) this.checkSettings(state, answer);
      });
    }
    this.#reads.push({ node, state, next: 0, left: node.ports.length, isComplete: true });
    this.readOn(nowNs);
    this.#onChange();
  }

  /** Goes on reading the ports of switches; to be called after every answer. A large subnet has far more ports than may be asked for at once. */
  readOn(nowNs: number): void {
    while (this.#reads.length > this.#readsHead && this.#smps.hasRoom(SmpGroup.DISCOVERY)) {
      const read = this.#reads[this.#readsHead];
      const port = read?.node.ports[read.next++];
      if (read !== undefined && port !== undefined) this.#readScanned(read, port, nowNs);
      else this.#readsHead++;
    }
    if (this.#readsHead < this.#reads.length) return;
    this.#reads = [];
    this.#readsHead = 0;
  }

  #readScanned(read: PortReads, port: SubnetPort, nowNs: number): void {
    const { node, state } = read;
    this.#smps.get(node, SmpGroup.DISCOVERY, SmAttribute.PORT_INFO, port.number, nowNs, (info, now) => {
      if (info !== undefined) this.#onPort(port, info, now);
      else read.isComplete = false;
      read.left--;
      if (read.left === 0) {
        if (!read.isComplete) {
          state.scansPaidAtNs = Math.max(state.scansPaidAtNs, now + RESCAN_NS + SCAN_BURST * SCAN_INTERVAL_NS);
          state.isScanStale = this.#subnet.has(node);
        }
        this.#endScan(node, now);
      }
    });
  }

  #endScan(node: SubnetNode, nowNs: number): void {
    if (node.switch === undefined) return;
    node.switch.isScanning = false;
    if (node.switch.isScanStale) this.scan(node, nowNs);
  }
}

/** When the next scan may start: a burst may run ahead of what is paid for. */
const scanDueNs = (state: SwitchState): number => state.scansPaidAtNs - SCAN_BURST * SCAN_INTERVAL_NS;

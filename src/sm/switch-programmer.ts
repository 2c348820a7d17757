// Brings switches to what is wanted: port 0, SwitchInfo, forwarding tables. IBA vol 1, 14.2.5.4, 14.2.5.6, 14.2.5.10, 14.2.5.12. Only differences
// are sent.

import { bytesOf } from "../mad/mad.ts";
import { SmAttribute } from "../spec/mad/numbers.ts";
import { PortInfo, SwitchInfo } from "../spec/mad/sm-attributes.ts";
import { LinearProgrammer } from "./linear-programmer.ts";
import { type PortSettings, unchanged } from "./port-settings.ts";
import { type SmpClient, SmpGroup } from "./smp-client.ts";
import type { Subnet, SubnetNode } from "./subnet.ts";

/** No switch has this; what is compared with it differs. */
const UNKNOWN_BLOCK = new Uint8Array(0);
const MULTICAST_BLOCK_BYTES = 64;

export class SwitchProgrammer {
  readonly #subnet: Subnet;
  readonly #smps: SmpClient;
  readonly #ports: PortSettings;
  /** A Set of a switch has failed. */
  readonly #onFailure: (node: SubnetNode) => void;
  readonly #linear: LinearProgrammer;

  constructor(subnet: Subnet, smps: SmpClient, ports: PortSettings, onFailure: (node: SubnetNode) => void) {
    this.#subnet = subnet;
    this.#smps = smps;
    this.#ports = ports;
    this.#onFailure = onFailure;
    this.#linear = new LinearProgrammer(subnet, smps, onFailure);
  }

  /** Begins to write what differs in a switch; forwarding tables when it is their turn, in `step`. */
  start(node: SubnetNode, nowNs: number): void {
    this.#writeBasePort(node, nowNs);
    this.#writeSwitchInfo(node, nowNs);
    this.#linear.start(node);
  }

  /** What the switch has is not known: `start` writes all of it, but for its multicast tables, which are for `writeMulticast`. */
  forget(node: SubnetNode): void {
    const state = node.switch;
    if (state === undefined) return;
    state.linear.rewriteAll();
    SwitchInfo.lifeTime.set(state.info, 0, 0);
    for (const key of state.multicastSent.keys()) state.multicastSent.set(key, UNKNOWN_BLOCK);
  }

  step(nowNs: number): void {
    this.#linear.step(nowNs);
  }

  /** Whether `step` has something to do. */
  get isReady(): boolean {
    return this.#linear.isReady;
  }

  /** Some switch has not had its turn. */
  get isWaiting(): boolean {
    return this.#linear.isWaiting;
  }

  #writeBasePort(node: SubnetNode, nowNs: number): void {
    const port = node.ports[0];
    if (port === undefined || !port.hasInfo || port.lid === 0 || port.isBusy || this.#ports.hasEndPortSettings(port)) return;
    const info = unchanged(port.info);
    this.#ports.putEndPortSettings(port, info);
    port.isBusy = true;
    this.#smps.set(node, SmpGroup.TABLES, SmAttribute.PORT_INFO, 0, bytesOf(info), nowNs, (data) => {
      port.isBusy = false;
      if (data !== undefined) bytesOf(port.info).set(bytesOf(data).subarray(0, PortInfo.byteLength));
      else this.#onFailure(node);
    });
  }

  #writeSwitchInfo(node: SubnetNode, nowNs: number): void {
    const state = node.switch;
    if (state === undefined) return;
    const before = bytesOf(state.info).slice();
    SwitchInfo.portStateChange.set(state.info, 0, 0);
    if (!state.putSettings(state.info)) return;
    // put in again: an answer to an earlier question may have brought old settings back meanwhile
    const wanted = (): Uint8Array => {
      state.putSettings(state.info);
      return bytesOf(state.info);
    };
    this.#smps.set(node, SmpGroup.TABLES, SmAttribute.SWITCH_INFO, 0, wanted, nowNs, (data, now) => {
      if (!this.#subnet.has(node)) this.#writeSwitchInfoAgain(node.guid, now);
      if (data !== undefined) return;
      bytesOf(state.info).set(before);
      this.#onFailure(node);
    });
  }

  /** The switch was lost and found again while a write was under way: which of two came last is not known. */
  #writeSwitchInfoAgain(guid: bigint, nowNs: number): void {
    const node = this.#subnet.nodes.get(guid);
    if (node?.switch === undefined || node.switch.linear.length === 0) return;
    SwitchInfo.lifeTime.set(node.switch.info, 0, 0);
    this.#writeSwitchInfo(node, nowNs);
  }

  /** Writes multicast block `block` of `position`, 32 big-endian masks, if the switch does not have it already. */
  writeMulticast(node: SubnetNode, block: number, position: number, wanted: Uint8Array, nowNs: number): void {
    const state = node.switch;
    if (state === undefined) return;
    const key = (block << 4) | position;
    const sent = state.multicastSent.get(key) ?? (wanted.every((byte) => byte === 0) ? wanted : undefined);
    if (isEqual(sent, wanted)) return;
    state.multicastSent.set(key, wanted);
    const modifier = ((position << 28) | block) >>> 0;
    // a repeated write must not bring back what has been replaced meanwhile
    const latest = (): Uint8Array => {
      const now = state.multicastSent.get(key);
      return now === undefined || now === UNKNOWN_BLOCK ? wanted : now;
    };
    this.#smps.set(node, SmpGroup.TABLES, SmAttribute.MULTICAST_FORWARDING, modifier, latest, nowNs, (data, now) => {
      if (!this.#subnet.has(node)) this.#writeMulticastAgain(node.guid, block, position, now);
      if (data !== undefined) return;
      if (state.multicastSent.get(key) === wanted) state.multicastSent.set(key, UNKNOWN_BLOCK);
      this.#onFailure(node);
    });
  }

  #writeMulticastAgain(guid: bigint, block: number, position: number, nowNs: number): void {
    const node = this.#subnet.nodes.get(guid);
    const key = (block << 4) | position;
    const wanted = node?.switch?.multicastSent.get(key);
    if (node?.switch === undefined || wanted === UNKNOWN_BLOCK) return;
    node.switch.multicastSent.set(key, UNKNOWN_BLOCK);
    this.writeMulticast(node, block, position, wanted ?? new Uint8Array(MULTICAST_BLOCK_BYTES), nowNs);
  }
}

function isEqual(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && a.length === b.length && a.every((byte, i) => byte === b[i]);
}

// Several subnet managers on one subnet: who is the master. IBA vol 1, 14.4.1 (states), 14.2.5.13 (SMInfo, and what a Set of it means). The one with
// the higher priority is, among equals the one with the lower GUID; the others stand by and look now and then whether the master still lives.
//
//   MASTER ── a better one is there ──► Set(SMInfo, HANDOVER) to it ── it answers, or acknowledges ──► STANDBY
//   STANDBY ── the master hands over, is silent, or is no master any more ──► MASTER

import { bytesOf } from "../mad/mad.ts";
import { MadStatus, PortCapability, SmAttribute, SmControl, SmState } from "../spec/mad/numbers.ts";
import { PortInfo, SmInfo } from "../spec/mad/sm-attributes.ts";
import type { Settings } from "./options.ts";
import { type SmpClient, SmpGroup } from "./smp-client.ts";
import type { Subnet, SubnetPort } from "./subnet.ts";

/** Questions in a row that the master does not answer before a standby takes its place; each is asked several times. */
const SILENCES = 2;

/** States of another manager in which it takes the subnet when it is offered: OpenSM waits for that as a standby. */
const READY: ReadonlySet<number> = new Set([SmState.MASTER, SmState.STANDBY]);

export interface NegotiationCounts {
  /** Times the subnet was given to another manager, and taken from one. */
  handovers: number;
  takeovers: number;
}

export interface NegotiationHost {
  readonly subnet: Subnet;
  readonly smps: SmpClient;
  readonly settings: Settings;
  /** Port GUID of this manager. */
  readonly guid: bigint;
  smInfo(): DataView;
  /** The subnet is this manager's: to be looked at from the beginning. */
  tookOver(nowNs: number): void;
}

export class Negotiation {
  readonly counts: NegotiationCounts = { handovers: 0, takeovers: 0 };
  readonly #host: NegotiationHost;
  #state: number = SmState.MASTER;
  /** Where the master is, as a standby knows it. */
  #master: SubnetPort | undefined = undefined;
  #silences = 0;
  #nextPollNs = Number.POSITIVE_INFINITY;

  constructor(host: NegotiationHost) {
    this.#host = host;
  }

  /** `SmState`. */
  get state(): number {
    return this.#state;
  }

  get isMaster(): boolean {
    return this.#state === SmState.MASTER;
  }

  /**
   * SMInfo of this manager. It shows the SM_Key, as OpenSM's does: OpenSM ignores a manager that does not have its own, and would be a second
   * master on the subnet. @param activity grows while it works
   */
  smInfo(activity: number): DataView {
    const { guid, settings } = this.#host;
    const info = new DataView(new ArrayBuffer(SmInfo.byteLength));
    SmInfo.guid.setBig(info, 0, guid);
    SmInfo.smKey.setBig(info, 0, settings.smKey);
    SmInfo.activityCount.set(info, 0, activity);
    SmInfo.priority.set(info, 0, settings.priority);
    SmInfo.state.set(info, 0, this.#state);
    return info;
  }

  /** Asks all other managers there are who they are; a master does so whenever the subnet has changed, and now and then. */
  look(nowNs: number): void {
    if (!this.#host.settings.yields) return;
    this.#nextPollNs = nowNs + this.#host.settings.sweepIntervalNs;
    for (const port of this.#host.subnet.byGuid.values()) if (this.#isOther(port)) this.#ask(port, nowNs);
  }

  /** A standby asks its master whether it is there, a master whether a better one is there. */
  step(nowNs: number): void {
    if (nowNs < this.#nextPollNs) return;
    if (this.isMaster) {
      this.look(nowNs);
      return;
    }
    this.#nextPollNs = nowNs + this.#host.settings.sweepIntervalNs;
    if (this.#master === undefined) this.#takeOver(nowNs);
    else this.#ask(this.#master, nowNs);
  }

  nextDeadlineNs(): number {
    return this.#nextPollNs;
  }

  /**
   * Set(SMInfo) from another manager.
   * @param control `SmControl`
   * @param sender port that it came from, if that is known
   * @returns the status of the answer
   */
  controlled(control: number, sender: SubnetPort | undefined, nowNs: number): number {
    const { settings, smps } = this.#host;
    if (!settings.yields || sender === undefined || !this.#isOther(sender)) return MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE;
    if (control === SmControl.HANDOVER) {
      const info = this.#host.smInfo();
      // it is a standby that acknowledges (14.2.5.13), and OpenSM takes it from nobody else
      SmInfo.state.set(info, 0, SmState.STANDBY);
      if (!this.isMaster) this.#takeOver(nowNs);
      smps.set(sender, SmpGroup.TABLES, SmAttribute.SM_INFO, SmControl.ACKNOWLEDGE, bytesOf(info), nowNs, () => {});
      return MadStatus.OK;
    }
    if (control === SmControl.ACKNOWLEDGE && this.#master === sender) {
      this.#standBy(nowNs);
      return MadStatus.OK;
    }
    return MadStatus.INVALID_FIELD;
  }

  #isOther(port: SubnetPort): boolean {
    return port.guid !== this.#host.guid && (PortInfo.capabilityMask.get(port.info, 0) & PortCapability.IS_SM) !== 0;
  }

  #ask(port: SubnetPort, nowNs: number): void {
    this.#host.smps.get(port, SmpGroup.TABLES, SmAttribute.SM_INFO, 0, nowNs, (data, now, isRefused) => {
      if (!this.isMaster) this.#masterAnswered(port, data, isRefused === true, now);
      else if (data !== undefined && READY.has(SmInfo.state.get(data, 0)) && this.#isBetter(data)) this.#handOver(port, now);
    });
  }

  /** @param isRefused the port answers, but there is no manager */
  #masterAnswered(port: SubnetPort, data: DataView | undefined, isRefused: boolean, nowNs: number): void {
    if (port !== this.#master) return;
    const isAlive = data !== undefined && SmInfo.state.get(data, 0) === SmState.MASTER;
    this.#silences = isAlive ? 0 : this.#silences + 1;
    if (isRefused || this.#silences >= SILENCES) this.#takeOver(nowNs);
  }

  #isBetter(other: DataView): boolean {
    const { settings, guid } = this.#host;
    const priority = SmInfo.priority.get(other, 0);
    if (priority !== settings.priority) return priority > settings.priority;
    return SmInfo.guid.getBig(other, 0) < guid;
  }

  /** Offers the subnet to a better manager; this one goes on until that has it. OpenSM only answers and never acknowledges. */
  #handOver(port: SubnetPort, nowNs: number): void {
    this.#master = port;
    const info = (): Uint8Array => bytesOf(this.#host.smInfo());
    this.#host.smps.set(port, SmpGroup.TABLES, SmAttribute.SM_INFO, SmControl.HANDOVER, info, nowNs, (answer, now) => {
      if (answer !== undefined && this.#master === port) this.#standBy(now);
    });
  }

  #standBy(nowNs: number): void {
    if (!this.isMaster) return;
    this.counts.handovers++;
    this.#state = SmState.STANDBY;
    this.#silences = 0;
    this.#nextPollNs = nowNs + this.#host.settings.sweepIntervalNs;
  }

  #takeOver(nowNs: number): void {
    this.counts.takeovers++;
    this.#state = SmState.MASTER;
    this.#master = undefined;
    this.#nextPollNs = Number.POSITIVE_INFINITY;
    this.#host.tookOver(nowNs);
  }
}

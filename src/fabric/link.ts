// A cable between two ports and its link state machine. IBA vol 1, 7.2 (logical states) and vol 2 5.7 (physical states),
// without the time training takes: when both ends can train, the link is up at once and both ports are in INIT.

import type { Field } from "../base/layout.ts";
import { PhysState, PortState } from "../spec/ib/numbers.ts";
import { PortCounter } from "../spec/ib/port-counters.ts";
import { PortCapability } from "../spec/mad/numbers.ts";
import { PortInfo } from "../spec/mad/sm-attributes.ts";
import type { LinkCounts, LinkFaults } from "./link-faults.ts";
import type { Port } from "./port.ts";
import { count } from "./port-counts.ts";

/** Decides whether a management packet that leaves `from` is lost on the way. */
export type Impairment = (packet: Uint8Array, from: Port) => boolean;

/** Where the bits of LinkSpeedExt* begin in the speeds of a cable, behind those of LinkSpeed*. */
export const EXTENDED_SPEED_SHIFT = 8;
export const EVERY_WIDTH = 0xff;
export const EVERY_SPEED = 0xffff;
const STANDARD_SPEEDS = 0xf;
const EXTENDED_SPEEDS = 0xf;

/** What a cable carries, as bit masks of PortInfo.LinkWidth*, LinkSpeed* and LinkSpeedExt*: its ports agree on no more. */
export interface Cable {
  readonly widths: number;
  readonly speeds: number;
}

const NO_COUNTS: Readonly<LinkCounts> = { lost: 0, corrupted: 0, delayed: 0 };
/** Ports agree on what both can. */
export const GOOD_CABLE: Cable = { widths: EVERY_WIDTH, speeds: EVERY_SPEED };

export class Link {
  readonly a: Port;
  readonly b: Port;
  #cable: Cable;
  /** Loses chosen management packets; for tests. */
  impairment: Impairment | undefined = undefined;
  /** What is wrong with the cable for all packets; `Fabric.setFaults` sets it. */
  faults: LinkFaults | undefined = undefined;
  #counts: LinkCounts | undefined = undefined;
  /** False while somebody has pulled the cable. */
  #isPlugged: boolean;

  constructor(a: Port, b: Port, cable: Cable = GOOD_CABLE, isPlugged = true) {
    this.#isPlugged = isPlugged;
    this.a = a;
    this.b = b;
    this.#cable = cable;
    a.link = this;
    b.link = this;
    this.#equip();
  }

  /** What it has done to packets so far. */
  get counts(): Readonly<LinkCounts> {
    return this.#counts ?? NO_COUNTS;
  }

  /** One packet more that it has lost, corrupted or delayed. */
  note(what: keyof LinkCounts): void {
    this.#counts ??= { ...NO_COUNTS };
    this.#counts[what]++;
  }

  #equip(): void {
    for (const port of [this.a, this.b]) equip(port, this.#cable);
  }

  other(port: Port): Port {
    return port === this.a ? this.b : this.a;
  }

  get cable(): Cable {
    return this.#cable;
  }

  /** Another cable between the same ports, which agree anew. */
  setCable(cable: Cable): void {
    this.#cable = cable;
    this.#equip();
    this.retrain();
  }

  get isPlugged(): boolean {
    return this.#isPlugged;
  }

  /** Plugs the cable in or pulls it. */
  setPlugged(isPlugged: boolean): void {
    this.#isPlugged = isPlugged;
    if (isPlugged) this.train();
    else this.goDown();
  }

  /** Brings the link up if both ends can; does nothing if it is up already. */
  train(): void {
    const { a, b } = this;
    if (!this.#isPlugged || a.isLinkUp || b.isLinkUp || !canTrain(a) || !canTrain(b)) return;
    const width = highestCommon(a, b, PortInfo.linkWidthEnabled, this.#cable.widths);
    const speed = highestCommon(a, b, PortInfo.linkSpeedEnabled, this.#cable.speeds & STANDARD_SPEEDS);
    const extended = highestCommon(a, b, PortInfo.linkSpeedExtEnabled, this.#cable.speeds >> EXTENDED_SPEED_SHIFT);
    if (width === 0 || speed === 0) return;
    for (const port of [a, b]) {
      PortInfo.linkWidthActive.set(port.info, 0, width);
      PortInfo.linkSpeedActive.set(port.info, 0, speed);
      PortInfo.linkSpeedExtActive.set(port.info, 0, extended);
      port.physState = PhysState.LINK_UP;
      port.state = PortState.INIT;
    }
    for (const port of [a, b]) linkChanged(port, true);
  }

  /** Takes the link down at both ends; each goes to the state its LinkDownDefault says. */
  goDown(): void {
    const { a, b } = this;
    if (!a.isLinkUp && !b.isLinkUp) return;
    a.node.fabric.settleTraffic();
    for (const port of [a, b]) {
      port.state = PortState.DOWN;
      port.physState = PortInfo.linkDownDefault.get(port.info, 0) === PhysState.SLEEP ? PhysState.SLEEP : PhysState.POLLING;
      count(port, PortCounter.linkDowned);
    }
    for (const port of [a, b]) linkChanged(port, false);
  }

  /** Down and, if both ends still can, up again. */
  retrain(): void {
    this.goDown();
    this.train();
  }
}

function linkChanged(port: Port, isUp: boolean): void {
  if (port.lanes !== undefined) port.node.fabric.lanes?.relinked(port.lanes);
  port.node.linkChanged(port, isUp);
}

/** A port that adapts can what its cable can, if somebody has said what that is. */
function equip(port: Port, { widths, speeds }: Cable): void {
  if (!port.adapts) return;
  const { info } = port;
  if (widths !== EVERY_WIDTH) widen(info, PortInfo.linkWidthSupported, PortInfo.linkWidthEnabled, widths);
  if (speeds === EVERY_SPEED) return;
  widen(info, PortInfo.linkSpeedSupported, PortInfo.linkSpeedEnabled, speeds & STANDARD_SPEEDS);
  const extended = (speeds >> EXTENDED_SPEED_SHIFT) & EXTENDED_SPEEDS;
  if (extended === 0) return;
  widen(info, PortInfo.linkSpeedExtSupported, PortInfo.linkSpeedExtEnabled, extended);
  // A switch says so at its port 0 (14.2.5.6, CapabilityMask).
  const speaker = (port.isEndPort ? port : port.node.ports[0])?.info ?? info;
  PortInfo.capabilityMask.set(speaker, 0, PortInfo.capabilityMask.get(speaker, 0) | PortCapability.EXTENDED_SPEEDS);
}

function widen(info: DataView, supported: Field, enabled: Field, mask: number): void {
  const added = mask & ~supported.get(info, 0);
  if (added === 0) return;
  supported.set(info, 0, supported.get(info, 0) | added);
  enabled.set(info, 0, enabled.get(info, 0) | added);
}

function canTrain(port: Port): boolean {
  return port.isEnabled && (port.physState === PhysState.POLLING || port.physState === PhysState.TRAINING);
}

/** Widths and speeds are bit masks; the highest bit that both ends have enabled and the cable carries wins. */
function highestCommon(a: Port, b: Port, field: Field, carried: number): number {
  const common = field.get(a.info, 0) & field.get(b.info, 0) & carried;
  return common === 0 ? 0 : 1 << (31 - Math.clz32(common));
}

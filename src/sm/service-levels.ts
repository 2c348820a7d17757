// Service levels: which virtual lane a packet of each takes, how lanes share a link, and which level a path is given. IBA vol 1, 7.6.6, 7.6.9,
// 14.2.5.8, 14.2.5.9, 15.2.5.16. Without settings no table is written: then SL n travels on VL n modulo 8, as after power-up.

import { DEFAULT_SL_TO_VL } from "../mad/attributes.ts";
import { SmAttribute, VL_ARB_BLOCK } from "../spec/mad/numbers.ts";
import { PortInfo, SL_TO_VL_BYTES, SwitchInfo } from "../spec/mad/sm-attributes.ts";
import type { TableBlock, TablePlan } from "./port-tables.ts";
import type { SubnetPort } from "./subnet.ts";

/** A virtual lane's turn: how much it may send, in units of 64 bytes. */
export type Turn = readonly [vl: number, weight: number];

/** Paths for some service: the first level that fits counts. */
export interface QosLevel {
  readonly sl: number;
  /** Service IDs, both ends included. */
  readonly serviceIds?: readonly [bigint, bigint];
  readonly qosClass?: number;
}

export interface QosOptions {
  /** Virtual lane of each service level, 16 of them; those a link does not have are taken modulo what it has. */
  readonly slToVl: readonly number[];
  /** Turns of high and of low priority, at most 32 each (a port has room for fewer). */
  readonly high: readonly Turn[];
  readonly low: readonly Turn[];
  /** PortInfo.VLHighLimit, in units of 4 KiB. */
  readonly highLimit: number;
  readonly levels: readonly QosLevel[];
}

/** Block numbers of VLArbitration: the lower halves of the low-priority and of the high-priority table. */
const LOW_BLOCK = 1;
const HIGH_BLOCK = 3;
/** SLtoVL modifier of switches that can: for packets from all ports (14.2.5.8, optimized programming). */
const ALL_INPUTS = 0x20000;

export class ServiceLevels implements TablePlan {
  readonly #qos: QosOptions | undefined;

  constructor(qos?: QosOptions) {
    this.#qos = qos;
  }

  /** Whether tables are written. */
  get isOn(): boolean {
    return this.#qos !== undefined;
  }

  get highLimit(): number {
    return this.#qos?.highLimit ?? 0;
  }

  /** Service level of a path for a service, if a level says so. */
  levelFor(serviceId: bigint | undefined, qosClass: number | undefined): number | undefined {
    return this.#qos?.levels.find((level) => fits(level, serviceId, qosClass))?.sl;
  }

  /** The SLtoVL table of a port, 16 nibbles. */
  slToVl(port: SubnetPort): Uint8Array {
    if (this.#qos === undefined) return DEFAULT_SL_TO_VL;
    const lanes = lanesOf(port);
    const vl = this.#qos.slToVl.map((wanted) => wanted % lanes);
    return Uint8Array.from({ length: SL_TO_VL_BYTES }, (_, i) => ((vl[2 * i] ?? 0) << 4) | (vl[2 * i + 1] ?? 0));
  }

  /** The VLArbitration blocks that a port has, by number. */
  *vlArbitration(port: SubnetPort): Generator<readonly [block: number, table: Uint8Array]> {
    const { info } = port;
    const lowCap = PortInfo.vlArbLowCap.get(info, 0);
    const highCap = PortInfo.vlArbHighCap.get(info, 0);
    if (lowCap > 0) yield [LOW_BLOCK, turnsOf(this.#qos?.low ?? [], port, lowCap)];
    if (highCap > 0) yield [HIGH_BLOCK, turnsOf(this.#qos?.high ?? [], port, highCap)];
  }

  *blocksOf(port: SubnetPort): Generator<TableBlock> {
    if (this.#qos === undefined || port.number === 0) return;
    const number = port.node.isSwitch ? port.number : 0;
    for (const modifier of slToVlModifiers(port)) {
      yield { attribute: SmAttribute.SL_TO_VL_MAPPING, modifier, data: this.slToVl(port) };
    }
    for (const [block, data] of this.vlArbitration(port)) {
      yield { attribute: SmAttribute.VL_ARBITRATION, modifier: (block << 16) | number, data };
    }
  }
}

function fits({ serviceIds, qosClass }: QosLevel, asked: bigint | undefined, askedClass: number | undefined): boolean {
  if (qosClass !== undefined && qosClass !== askedClass) return false;
  return serviceIds === undefined || (asked !== undefined && asked >= serviceIds[0] && asked <= serviceIds[1]);
}

/** Data lanes that both ends of a port's link have: their code n says 2^(n-1) (14.2.5.6). */
function lanesOf({ info, peer }: SubnetPort): number {
  const own = PortInfo.vlCap.get(info, 0);
  const code = peer === undefined ? own : Math.min(own, PortInfo.vlCap.get(peer.info, 0));
  return 1 << Math.max(0, code - 1);
}

function turnsOf(turns: readonly Turn[], port: SubnetPort, room: number): Uint8Array {
  const table = new Uint8Array(VL_ARB_BLOCK * 2);
  const lanes = lanesOf(port);
  const own = turns.filter(([vl]) => vl < lanes).slice(0, Math.min(room, VL_ARB_BLOCK));
  own.forEach((turn, i) => {
    table.set(turn, 2 * i);
  });
  return table;
}

/** Modifiers of the Sets that write a port's table: one, unless a switch has a table for each port that packets come from. */
function slToVlModifiers({ node, number }: SubnetPort): number[] {
  if (node.switch === undefined) return [0];
  const isOptimized = (SwitchInfo.optimizedSlToVl.get(node.switch.info, 0) & 1) === 1;
  return isOptimized ? [ALL_INPUTS | number] : node.ports.map((_, input) => (input << 8) | number);
}

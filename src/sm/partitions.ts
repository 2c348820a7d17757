// Partitions: which port is in which, as a full or as a limited member. IBA vol 1, 10.9, 14.2.5.7. Every port is in the default partition, where the
// manager is. Where there are no others all are full members of it, and no table is written: that is what ports have after power-up.
//
// A host's port gets a table of its P_Keys, and the switch's port at the other end of its cable the same one, to be enforced there: what a guest
// writes into its own table does not let it into anything.

import { DEFAULT_PKEY, isFullMember, PKEY_FULL, pkeyBase } from "../spec/ib/numbers.ts";
import { P_KEY_BLOCK, SmAttribute } from "../spec/mad/numbers.ts";
import { NodeInfo, SwitchInfo } from "../spec/mad/sm-attributes.ts";
import type { TableBlock, TablePlan } from "./port-tables.ts";
import type { Subnet, SubnetPort } from "./subnet.ts";

/** Names of hosts, or all there are. */
export type Members = readonly string[] | "all";

export interface PartitionOptions {
  readonly name: string;
  /** 1 to 0x7fff; the last is the default partition, which says who is a full member of it. */
  readonly pkey: number;
  /** May talk to everybody in it. */
  readonly full: Members;
  /** May talk to full members only. */
  readonly limited: Members;
  /** It has a broadcast group for IPoIB. */
  readonly isIpoib: boolean;
  /** Service level of its paths and of its groups. */
  readonly sl: number;
}

const DEFAULT_BASE = pkeyBase(DEFAULT_PKEY);
const DEFAULT_KEYS: readonly number[] = [DEFAULT_PKEY];

export class Partitions implements TablePlan {
  readonly all: readonly PartitionOptions[];
  readonly #subnet: Subnet;
  readonly #nameOf: (port: SubnetPort) => string;
  /** Ports whose table has no room for all of their P_Keys. */
  withoutRoom = 0;

  /** @param nameOf name of the host that a port belongs to */
  constructor(all: readonly PartitionOptions[], subnet: Subnet, nameOf: (port: SubnetPort) => string) {
    this.all = all;
    this.#subnet = subnet;
    this.#nameOf = nameOf;
  }

  /** Whether there is anything but the default partition with all as full members. */
  get isOn(): boolean {
    return this.all.length > 0;
  }

  /** P_Keys of an end port, that of the default partition first. */
  keysOf(port: SubnetPort): readonly number[] {
    if (!this.isOn) return DEFAULT_KEYS;
    port.pkeys ??= this.#findKeys(port);
    return port.pkeys;
  }

  /** The P_Key by which `port` is in the partition of `pkey`; 0 if it is not. */
  keyIn(port: SubnetPort, pkey: number): number {
    return this.keysOf(port).find((key) => pkeyBase(key) === pkeyBase(pkey)) ?? 0;
  }

  /** The P_Key by which two ports may talk to each other in the partition of `pkey`, or in the first that they share; 0 if there is none. */
  sharedKey(a: SubnetPort, b: SubnetPort, pkey?: number): number {
    for (const key of this.keysOf(a)) {
      if (pkey !== undefined && pkeyBase(key) !== pkeyBase(pkey)) continue;
      const other = this.keyIn(b, key);
      if (other !== 0 && (a === b || isFullMember(key) || isFullMember(other))) return key;
    }
    return 0;
  }

  find(pkey: number): PartitionOptions | undefined {
    return this.all.find((partition) => partition.pkey === pkeyBase(pkey));
  }

  /** Service level of the partition of `pkey`. */
  slOf(pkey: number): number {
    return this.find(pkey)?.sl ?? 0;
  }

  /** Whether the switch's port at the other end of a host's cable is to enforce what the host may. */
  isEnforcedAt(port: SubnetPort): boolean {
    return this.isOn && this.#isEdge(port) && this.#capacityOf(port) > 0;
  }

  blocksOf(port: SubnetPort): TableBlock[] {
    if (!this.isOn) return [];
    const isEdge = this.#isEdge(port);
    if (port.node.isSwitch && !isEdge && port !== this.#managerPort) return [];
    const capacity = this.#capacityOf(port);
    const keys = this.keysOf(isEdge && port.peer !== undefined ? port.peer : port);
    if (keys.length > capacity) this.withoutRoom++;
    const modifier = port.node.isSwitch ? port.number << 16 : 0;
    return Array.from({ length: Math.ceil(capacity / P_KEY_BLOCK) }, (_, block) => ({
      attribute: SmAttribute.P_KEY_TABLE,
      modifier: modifier | block,
      data: blockOf(keys, block),
    }));
  }

  /** P_Keys that a switch's port enforces: those of the host behind it. */
  enforcedKeys(port: SubnetPort): readonly number[] {
    return port.peer !== undefined && this.isEnforcedAt(port) ? this.keysOf(port.peer) : [];
  }

  get #managerPort(): SubnetPort | undefined {
    return this.#subnet.root?.presentPorts()[0];
  }

  #isEdge({ node, number, peer }: SubnetPort): boolean {
    return node.isSwitch && number !== 0 && peer?.node.isSwitch === false;
  }

  #capacityOf({ node, number }: SubnetPort): number {
    if (node.switch === undefined || number === 0) return NodeInfo.partitionCap.get(node.info, 0);
    return SwitchInfo.partitionEnforcementCap.get(node.switch.info, 0);
  }

  #findKeys(port: SubnetPort): number[] {
    if (port === this.#managerPort)
      return [DEFAULT_PKEY, ...this.all.map(({ pkey }) => pkey | PKEY_FULL).filter((key) => key !== DEFAULT_PKEY)];
    if (port.node.isSwitch) return [DEFAULT_PKEY];
    const name = this.#nameOf(port);
    const keys = this.all.flatMap(({ pkey, full, limited }) => {
      if (isMember(full, name)) return [pkey | PKEY_FULL];
      return isMember(limited, name) ? [pkey] : [];
    });
    const isDefaultSaid = this.find(DEFAULT_BASE) !== undefined;
    const own = keys.find((key) => pkeyBase(key) === DEFAULT_BASE) ?? (isDefaultSaid ? DEFAULT_BASE : DEFAULT_PKEY);
    return [own, ...keys.filter((key) => pkeyBase(key) !== DEFAULT_BASE)];
  }
}

const isMember = (members: Members, name: string): boolean => members === "all" || members.includes(name);

function blockOf(keys: readonly number[], block: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(P_KEY_BLOCK * 2));
  for (let i = 0; i < P_KEY_BLOCK; i++) view.setUint16(i * 2, keys[block * P_KEY_BLOCK + i] ?? 0);
  return new Uint8Array(view.buffer);
}

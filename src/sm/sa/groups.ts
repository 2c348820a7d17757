// Multicast groups and their members. IBA vol 1, 15.2.5.17 (MCMemberRecord) and 10.5.2. A group lives as long as it has a full
// member, except those the manager made itself. Numbers of groups and of memberships per port are bounded.

import { Lid } from "../../spec/ib/numbers.ts";
import { JoinState } from "../../spec/mad/numbers.ts";
import { SaLimits } from "../options.ts";

export interface GroupParameters {
  readonly qkey: number;
  readonly pkey: number;
  readonly mtu: number;
  readonly rate: number;
  readonly lifeTime: number;
  readonly sl: number;
  readonly trafficClass: number;
  readonly flowLabel: number;
  readonly hopLimit: number;
}

export interface GroupMember {
  readonly portGuid: bigint;
  joinState: number;
  isProxy: boolean;
}

export interface Group extends GroupParameters {
  /** Changes only in permanent groups (group-rate.ts). */
  rate: number;
  readonly mgid: Uint8Array;
  readonly mlid: number;
  /** Stays without members. */
  readonly isPermanent: boolean;
  readonly members: Map<bigint, GroupMember>;
}

const FULL_STATES = JoinState.FULL | JoinState.SEND_ONLY_FULL;
/** Join states that want the group's packets. */
export const RECEIVER_STATES: number = JoinState.FULL | JoinState.NON;

export const gidKey = (gid: Uint8Array): string => Buffer.from(gid.buffer, gid.byteOffset, gid.byteLength).toString("hex");

/** A group has been made, or is gone. */
export interface GroupNews {
  readonly mgid: Uint8Array;
  readonly isNew: boolean;
}

export class GroupTable {
  readonly #byMgid: Map<string, Group> = new Map();
  readonly #byMlid: Map<number, Group> = new Map();
  readonly #membershipsByPort: Map<bigint, number> = new Map();
  /** Joins and groups refused because of a bound. */
  refused = 0;
  /** MLIDs whose members have changed since `takeChanged`. */
  #changed: Set<number> = new Set();
  /** Groups made and deleted since `takeNews`. */
  #news: GroupNews[] = [];

  get size(): number {
    return this.#byMgid.size;
  }

  all(): Iterable<Group> {
    return this.#byMgid.values();
  }

  find(mgid: Uint8Array): Group | undefined {
    return this.#byMgid.get(gidKey(mgid));
  }

  findByMlid(mlid: number): Group | undefined {
    return this.#byMlid.get(mlid);
  }

  /** @returns undefined if there is no room. */
  create(mgid: Uint8Array, parameters: GroupParameters, isPermanent = false): Group | undefined {
    const mlid = this.#freeMlid();
    if (mlid === undefined) {
      this.refused++;
      return undefined;
    }
    const group: Group = { ...parameters, mgid: mgid.slice(), mlid, isPermanent, members: new Map() };
    this.#byMgid.set(gidKey(mgid), group);
    this.#byMlid.set(mlid, group);
    this.#news.push({ mgid: group.mgid, isNew: true });
    return group;
  }

  /** Adds join states to a port's membership. @returns undefined if the port is in too many groups. */
  join(group: Group, portGuid: bigint, joinState: number, isProxy: boolean): GroupMember | undefined {
    let member = group.members.get(portGuid);
    if (member === undefined) {
      const memberships = this.#membershipsByPort.get(portGuid) ?? 0;
      if (memberships >= SaLimits.GROUPS_PER_PORT) {
        this.refused++;
        return undefined;
      }
      this.#membershipsByPort.set(portGuid, memberships + 1);
      member = { portGuid, joinState: 0, isProxy };
      group.members.set(portGuid, member);
    }
    member.joinState |= joinState;
    this.#changed.add(group.mlid);
    return member;
  }

  /** Removes join states; a member without any is gone, a group without full members too. Returns what is left of them. */
  leave(group: Group, member: GroupMember, joinState: number): number {
    member.joinState &= ~joinState;
    this.#changed.add(group.mlid);
    if (member.joinState === 0) {
      group.members.delete(member.portGuid);
      const left = (this.#membershipsByPort.get(member.portGuid) ?? 1) - 1;
      if (left === 0) this.#membershipsByPort.delete(member.portGuid);
      else this.#membershipsByPort.set(member.portGuid, left);
    }
    this.deleteIfEmpty(group);
    return member.joinState;
  }

  /** The port is gone from the subnet. */
  removePort(portGuid: bigint): void {
    if (!this.#membershipsByPort.has(portGuid)) return;
    for (const group of [...this.#byMgid.values()]) {
      const member = group.members.get(portGuid);
      if (member !== undefined) this.leave(group, member, member.joinState);
    }
  }

  /** MLIDs to route anew. */
  takeChanged(): Set<number> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  /** Groups made and deleted since the last call, in order. */
  takeNews(): readonly GroupNews[] {
    const news = this.#news;
    this.#news = [];
    return news;
  }

  /** Deletes a group that has no full member and is not permanent. */
  deleteIfEmpty(group: Group): void {
    if (group.isPermanent) return;
    for (const member of group.members.values()) if ((member.joinState & FULL_STATES) !== 0) return;
    this.#byMgid.delete(gidKey(group.mgid));
    this.#byMlid.delete(group.mlid);
    for (const { portGuid } of group.members.values()) {
      this.#membershipsByPort.set(portGuid, (this.#membershipsByPort.get(portGuid) ?? 1) - 1);
    }
    group.members.clear();
    this.#changed.add(group.mlid);
    this.#news.push({ mgid: group.mgid, isNew: false });
  }

  #freeMlid(): number | undefined {
    for (let mlid = Lid.MULTICAST_FIRST; mlid < Lid.MULTICAST_FIRST + SaLimits.GROUPS; mlid++) {
      if (!this.#byMlid.has(mlid)) return mlid;
    }
    return undefined;
  }
}

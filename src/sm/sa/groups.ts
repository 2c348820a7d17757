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
  /** Port GUID of who has joined: that of the port itself, or somebody else's who has joined for it (ProxyJoin) and is charged for it. */
  joinedBy: bigint;
}

/** MCMemberRecord.ProxyJoin. */
export const isProxy = ({ portGuid, joinedBy }: GroupMember): boolean => portGuid !== joinedBy;

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
  /** Memberships that a port has joined, for itself or others. */
  readonly #joinedByPort: Map<bigint, number> = new Map();
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

  /**
   * Adds join states to a port's membership. A port that joins where others have joined for it is a member of its own from then on.
   * @returns undefined if `joinedBy` is in too many groups.
   */
  join(group: Group, portGuid: bigint, joinState: number, joinedBy: bigint = portGuid): GroupMember | undefined {
    let member = group.members.get(portGuid);
    if (member === undefined || (isProxy(member) && joinedBy === portGuid)) {
      if (!this.#charge(joinedBy)) return undefined;
      if (member === undefined) member = { portGuid, joinState: 0, joinedBy };
      else this.#discharge(member.joinedBy);
      member.joinedBy = joinedBy;
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
      this.#discharge(member.joinedBy);
    }
    this.deleteIfEmpty(group);
    return member.joinState;
  }

  /** The port is gone from the subnet, and with it what it has joined for others. */
  removePort(portGuid: bigint): void {
    const groups = [...this.#byMgid.values()];
    for (const group of groups) {
      const member = group.members.get(portGuid);
      if (member !== undefined) this.leave(group, member, member.joinState);
    }
    if (!this.#joinedByPort.has(portGuid)) return;
    for (const group of groups) {
      for (const member of [...group.members.values()]) {
        if (member.joinedBy === portGuid) this.leave(group, member, member.joinState);
      }
    }
  }

  /** @returns false if the port is in too many groups. */
  #charge(portGuid: bigint): boolean {
    const joined = this.#joinedByPort.get(portGuid) ?? 0;
    if (joined >= SaLimits.GROUPS_PER_PORT) {
      this.refused++;
      return false;
    }
    this.#joinedByPort.set(portGuid, joined + 1);
    return true;
  }

  #discharge(portGuid: bigint): void {
    const left = (this.#joinedByPort.get(portGuid) ?? 1) - 1;
    if (left === 0) this.#joinedByPort.delete(portGuid);
    else this.#joinedByPort.set(portGuid, left);
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
    for (const { joinedBy } of group.members.values()) this.#discharge(joinedBy);
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

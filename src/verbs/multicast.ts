// Membership of multicast groups: the subnet administration lets the port receive, `qp.attachMcast` lets a queue pair.
// IBA vol 1, 15.2.5.17. A port is a member once, however many of a program's parts have joined: the last to leave takes it out.

import { DEFAULT_PKEY, mtuBytes } from "../spec/ib/numbers.ts";
import { McComponent as C } from "../spec/mad/components.ts";
import { JoinState, Method, SaAttribute } from "../spec/mad/numbers.ts";
import { McMemberRecord } from "../spec/mad/sa-records.ts";
import type { AddressHandleAttributes } from "./address-handle.ts";
import { VerbsError } from "./error.ts";
import { gidText } from "./gid.ts";
import type { SaClient } from "./sa.ts";

const GID_BYTES = 16;
const MULTICAST_PREFIX = 0xff;

export interface JoinOptions {
  /** Creates the group, with this Q_Key, if it does not exist yet; one that exists must have it. Left out: only joins. */
  readonly qkey?: number;
  readonly pkey?: number;
  /** Service level, flow label and traffic class of a group to be created; 0 if left out. */
  readonly sl?: number;
  readonly flowLabel?: number;
  readonly trafficClass?: number;
  readonly hopLimit?: number;
}

/** A group as the administration describes it. */
export interface MulticastGroup {
  readonly mgid: Uint8Array;
  readonly mlid: number;
  readonly qkey: number;
  readonly pkey: number;
  /** Bytes. */
  readonly mtu: number;
  /** Code of the rate. */
  readonly rate: number;
  readonly sl: number;
  readonly flowLabel: number;
  readonly trafficClass: number;
  readonly hopLimit: number;
}

/** A membership. */
export interface MulticastMembership extends MulticastGroup {
  /** For `pd.createAh`: datagrams to the group go to QP 0xffffff with its `qkey`. */
  readonly address: AddressHandleAttributes;
  /** Ends it; a second time does nothing. */
  leave(): Promise<void>;
}

interface Joined {
  readonly group: Promise<MulticastGroup>;
  members: number;
}

export class MulticastMember {
  readonly #sa: SaClient;
  readonly #joined = new Map<string, Joined>();
  /** Leaving under way, by MGID: who joins meanwhile comes after it. */
  readonly #leaving = new Map<string, Promise<unknown>>();

  constructor(sa: SaClient) {
    this.#sa = sa;
  }

  /** @param portGid 16 bytes */
  async join(mgid: Uint8Array, portGid: Uint8Array, options: JoinOptions): Promise<MulticastMembership> {
    if (mgid.length !== GID_BYTES || mgid[0] !== MULTICAST_PREFIX) {
      throw new VerbsError("EINVAL", `joinMulticast: ${gidText(mgid)} is no multicast GID: 16 bytes, the first 0xff`);
    }
    const key = gidText(mgid);
    while (this.#leaving.has(key)) await this.#leaving.get(key)?.catch(() => {});
    let joined = this.#joined.get(key);
    if (joined === undefined) {
      joined = { members: 0, group: this.#set(mgid, portGid, options) };
      this.#joined.set(key, joined);
    }
    joined.members++;
    try {
      const group = await joined.group;
      const { qkey } = options;
      if (qkey !== undefined && qkey !== group.qkey) {
        throw new VerbsError("EINVAL", `joinMulticast: group ${key} has Q_Key ${group.qkey}, not ${qkey}`);
      }
      return this.#membership(key, group, portGid);
    } catch (error) {
      await this.#leave(key, mgid, portGid, true);
      throw error;
    }
  }

  #membership(key: string, group: MulticastGroup, portGid: Uint8Array): MulticastMembership {
    const { mgid, mlid, sl, hopLimit, flowLabel, trafficClass } = group;
    let left: Promise<void> | undefined;
    return {
      ...group,
      address: { dlid: mlid, sl, grh: { dgid: mgid, hopLimit, flowLabel, trafficClass } },
      leave: () => {
        left ??= this.#leave(key, mgid, portGid, false);
        return left;
      },
    };
  }

  /** One member less. */
  async #leave(key: string, mgid: Uint8Array, portGid: Uint8Array, hasFailed: boolean): Promise<void> {
    const joined = this.#joined.get(key);
    if (joined === undefined) return;
    joined.members--;
    if (joined.members > 0) return;
    this.#joined.delete(key);
    if (hasFailed && (await joined.group.then(() => false).catch(() => true))) return;
    const leaving = this.#delete(mgid, portGid).finally(() => this.#leaving.delete(key));
    this.#leaving.set(key, leaving);
    await leaving;
  }

  async #set(mgid: Uint8Array, portGid: Uint8Array, options: JoinOptions): Promise<MulticastGroup> {
    const { qkey, pkey = DEFAULT_PKEY, sl = 0, flowLabel = 0, trafficClass = 0, hopLimit } = options;
    const record = memberRecord(mgid, portGid);
    const r = McMemberRecord;
    r.qkey.set(record, 0, qkey ?? 0);
    r.pkey.set(record, 0, pkey);
    r.sl.set(record, 0, sl);
    r.flowLabel.set(record, 0, flowLabel);
    r.trafficClass.set(record, 0, trafficClass);
    r.hopLimit.set(record, 0, hopLimit ?? 0);
    const reply = await this.#sa.request({
      what: `joining multicast group ${gidText(mgid)}`,
      method: Method.SET,
      attribute: SaAttribute.MC_MEMBER_RECORD,
      components: [
        ...[C.MGID, C.PORT_GID, C.JOIN_STATE, C.P_KEY],
        ...(qkey === undefined ? [] : [C.Q_KEY, C.SL, C.FLOW_LABEL, C.TRAFFIC_CLASS]),
        ...(hopLimit === undefined ? [] : [C.HOP_LIMIT]),
      ],
      record,
    });
    return decodeGroup(reply);
  }

  async #delete(mgid: Uint8Array, portGid: Uint8Array): Promise<void> {
    await this.#sa.request({
      what: `leaving multicast group ${gidText(mgid)}`,
      method: Method.DELETE,
      attribute: SaAttribute.MC_MEMBER_RECORD,
      components: [C.MGID, C.PORT_GID, C.JOIN_STATE],
      record: memberRecord(mgid, portGid),
    });
  }
}

function memberRecord(mgid: Uint8Array, portGid: Uint8Array): DataView {
  const record = new DataView(new ArrayBuffer(McMemberRecord.byteLength));
  McMemberRecord.mgid.set(record, 0, mgid);
  McMemberRecord.portGid.set(record, 0, portGid);
  McMemberRecord.joinState.set(record, 0, JoinState.FULL);
  return record;
}

function decodeGroup(record: DataView): MulticastGroup {
  const r = McMemberRecord;
  return {
    mgid: r.mgid.get(record, 0).slice(),
    mlid: r.mlid.get(record, 0),
    qkey: r.qkey.get(record, 0),
    pkey: r.pkey.get(record, 0),
    mtu: mtuBytes(r.mtu.get(record, 0)),
    rate: r.rate.get(record, 0),
    sl: r.sl.get(record, 0),
    flowLabel: r.flowLabel.get(record, 0),
    trafficClass: r.trafficClass.get(record, 0),
    hopLimit: r.hopLimit.get(record, 0),
  };
}

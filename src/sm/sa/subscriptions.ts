// InformInfo: who wants to hear of which traps, and which notices fit. IBA vol 1, 13.4.8.3 (the attribute), 13.4.11 (forwarding),
// 15.2.5.12 (its records). A port subscribes for itself. Bounded in all and per port.

import { bytesOf } from "../../mad/mad.ts";
import { INFORM_INFO_RECORD_COMPONENTS } from "../../spec/mad/components.ts";
import { MadStatus, SaAttribute, SaStatus, Trap } from "../../spec/mad/numbers.ts";
import { INFORM_INFO_RECORD_INFO_AT, InformInfo, InformInfoRecord } from "../../spec/mad/sa-records.ts";
import { NOTICE_DETAILS_AT, Notice } from "../../spec/mad/sm-attributes.ts";
import { SaLimits } from "../options.ts";
import { newRecord, type RecordTable } from "./query.ts";
import type { Asker, SaAnswer, SaRequest, SaService } from "./request.ts";

const ANY_LID = 0xffff;
const ANY_TYPE = 0xffff;
const ANY_TRAP = 0xffff;
const ANY_PRODUCER = 0xffffff;
/** GID of traps 64 to 67, inside their details. */
const SUBJECT_GID_AT = NOTICE_DETAILS_AT + 6;

export interface Subscription {
  /** Port GUID of the subscriber. */
  readonly owner: bigint;
  /** QP its reports go to. */
  readonly qpn: number;
  readonly info: DataView;
  /** It was made with the SM_Key: it also hears of violations of keys. */
  isTrusted: boolean;
  /** Reports under way. */
  pending: number;
  /** Reports in a row that were not answered. */
  failures: number;
}

export class SubscriptionTable implements SaService {
  readonly #subscriptions: Map<string, Subscription> = new Map();
  readonly #perPort: Map<bigint, number> = new Map();
  readonly #gidPrefix: bigint;
  /** Subscriptions refused because of a bound. */
  refused = 0;

  constructor(gidPrefix: bigint) {
    this.#gidPrefix = gidPrefix;
  }

  get size(): number {
    return this.#subscriptions.size;
  }

  /** Set(InformInfo): subscribes or unsubscribes. The answer is the InformInfo itself. */
  set(request: SaRequest): SaAnswer {
    const { view, at } = request;
    const info = newRecord(InformInfo.byteLength);
    bytesOf(info).set(bytesOf(view).subarray(at, at + InformInfo.byteLength));
    const subscribe = InformInfo.subscribe.get(info, 0);
    if (subscribe > 1 || !hasSoundRange(info)) return { status: SaStatus.REQ_INVALID };
    const qpn = InformInfo.qpn.get(info, 0) || request.srcQp;
    InformInfo.qpn.set(info, 0, qpn);
    const key = keyOf(request.port.guid, info);
    const known = this.#subscriptions.get(key);
    if (subscribe === 0) {
      if (known === undefined) return { status: SaStatus.REQ_INVALID };
      this.remove(known);
    } else if (known !== undefined) {
      known.isTrusted = request.isTrusted;
      known.failures = 0;
    } else if (!this.#add(key, { owner: request.port.guid, qpn, info, isTrusted: request.isTrusted, pending: 0, failures: 0 })) {
      return { status: SaStatus.NO_RESOURCES };
    }
    return { status: MadStatus.OK, record: info };
  }

  /** Subscriptions that want `notice` (80 bytes, IssuerGID filled in). */
  *matching(notice: DataView): Generator<Subscription> {
    for (const subscription of this.#subscriptions.values()) if (wants(subscription, notice)) yield subscription;
  }

  has(subscription: Subscription): boolean {
    return this.#subscriptions.get(keyOf(subscription.owner, subscription.info)) === subscription;
  }

  remove({ owner, info }: Subscription): void {
    if (!this.#subscriptions.delete(keyOf(owner, info))) return;
    const left = (this.#perPort.get(owner) ?? 1) - 1;
    if (left === 0) this.#perPort.delete(owner);
    else this.#perPort.set(owner, left);
  }

  /** The port is gone from the subnet. */
  removePort(owner: bigint): void {
    if (!this.#perPort.has(owner)) return;
    for (const subscription of [...this.#subscriptions.values()]) if (subscription.owner === owner) this.remove(subscription);
  }

  /** Records: all of them for those who are trusted, their own for others. */
  table(): RecordTable {
    const subscriptions = this.#subscriptions;
    const prefix = this.#gidPrefix;
    return {
      attribute: SaAttribute.INFORM_INFO_RECORD,
      bytes: InformInfoRecord.byteLength,
      components: INFORM_INFO_RECORD_COMPONENTS,
      *records({ isTrusted, port }: Asker) {
        let enumeration = 0;
        for (const { owner, info } of subscriptions.values()) {
          enumeration++;
          if (!isTrusted && owner !== port.guid) continue;
          const record = newRecord(InformInfoRecord.byteLength);
          record.setBigUint64(0, prefix);
          record.setBigUint64(8, owner);
          InformInfoRecord.enumeration.set(record, 0, enumeration);
          bytesOf(record).set(bytesOf(info), INFORM_INFO_RECORD_INFO_AT);
          yield record;
        }
      },
    };
  }

  #add(key: string, subscription: Subscription): boolean {
    const count = this.#perPort.get(subscription.owner) ?? 0;
    if (this.size >= SaLimits.SUBSCRIPTIONS || count >= SaLimits.SUBSCRIPTIONS_PER_PORT) {
      this.refused++;
      return false;
    }
    this.#subscriptions.set(key, subscription);
    this.#perPort.set(subscription.owner, count + 1);
    return true;
  }
}

/** What tells subscriptions apart: everything but Subscribe itself. */
function keyOf(owner: bigint, info: DataView): string {
  const copy = bytesOf(info).slice();
  copy[InformInfo.subscribe.offset] = 0;
  return `${owner}/${Buffer.from(copy).toString("hex")}`;
}

const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

/** A range of LIDs counts where no GID is given; 0xffff begins that of all. */
function hasSoundRange(info: DataView): boolean {
  const begin = InformInfo.lidRangeBegin.get(info, 0);
  return !isZero(InformInfo.gid.get(info, 0)) || begin === ANY_LID || begin <= InformInfo.lidRangeEnd.get(info, 0);
}

/** The rules of 13.4.8.3: what a subscription names must be what the notice has. */
function wants({ info, isTrusted }: Subscription, notice: DataView): boolean {
  const i = InformInfo;
  const trap = Notice.trapNumber.get(notice, 0);
  if (isKeyTrap(trap) && !isTrusted) return false;
  if (i.isGeneric.get(info, 0) !== Notice.isGeneric.get(notice, 0)) return false;
  const type = i.type.get(info, 0);
  const wantedTrap = i.trapNumber.get(info, 0);
  const producer = i.producerType.get(info, 0);
  if (type !== ANY_TYPE && type !== Notice.type.get(notice, 0)) return false;
  if (wantedTrap !== ANY_TRAP && wantedTrap !== trap) return false;
  if (producer !== ANY_PRODUCER && producer !== Notice.producerType.get(notice, 0)) return false;
  return isFrom(info, notice, trap);
}

function isFrom(info: DataView, notice: DataView, trap: number): boolean {
  const gid = InformInfo.gid.get(info, 0);
  if (!isZero(gid)) {
    const isAboutSubject = trap >= Trap.GID_IN_SERVICE && trap <= Trap.MULTICAST_DELETED;
    const at = isAboutSubject ? SUBJECT_GID_AT : Notice.issuerGid.offset;
    return gid.every((byte, n) => byte === notice.getUint8(at + n));
  }
  const begin = InformInfo.lidRangeBegin.get(info, 0);
  const issuer = Notice.issuerLid.get(notice, 0);
  return begin === ANY_LID || (issuer >= begin && issuer <= InformInfo.lidRangeEnd.get(info, 0));
}

/** Traps that tell of keys are for those who know the SM_Key. */
const isKeyTrap = (trap: number): boolean => trap >= Trap.BAD_M_KEY && trap <= Trap.BAD_P_KEY_SWITCH;

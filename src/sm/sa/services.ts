// ServiceRecord: names for services, with a lease. IBA vol 1, 15.2.5.14. Bounded in all and per port.

import { NS_PER_S } from "../../base/clock.ts";
import { bytesOf } from "../../mad/mad.ts";
import { SERVICE_RECORD_COMPONENTS } from "../../spec/mad/components.ts";
import { MadStatus, SaAttribute, SaStatus } from "../../spec/mad/numbers.ts";
import { ServiceRecord } from "../../spec/mad/sa-records.ts";
import { SaLimits } from "../options.ts";
import { gidKey } from "./groups.ts";
import { newRecord, type RecordTable } from "./query.ts";
import type { SaAnswer, SaRequest, SaService } from "./request.ts";

const FOR_EVER = 0xffffffff;
/** Number of ServiceKey in the component mask. */
const KEY_COMPONENT = SERVICE_RECORD_COMPONENTS.findIndex((component) => component?.field === ServiceRecord.key);

interface Service {
  readonly record: DataView;
  /** Port GUID that registered it. */
  readonly owner: bigint;
  expiresNs: number;
}

/** A record's key: ServiceID, ServiceGID, ServiceP_Key. */
const keyOf = (view: DataView, at: number): string =>
  `${ServiceRecord.id.getBig(view, at)}/${gidKey(ServiceRecord.gid.get(view, at))}/${ServiceRecord.pkey.get(view, at)}`;

export class ServiceTable implements SaService {
  readonly #services: Map<string, Service> = new Map();
  /** Registrations refused because of a bound. */
  refused = 0;
  /** No lease ends earlier; it may be stale. */
  #earliestNs = Number.POSITIVE_INFINITY;

  get size(): number {
    return this.#services.size;
  }

  /** Registers or renews a service: no resources if a bound is reached or it is somebody else's. */
  set({ view, at, port, nowNs, isTrusted }: SaRequest): SaAnswer {
    const owner = port.guid;
    const key = keyOf(view, at);
    const known = this.#services.get(key);
    if (known === undefined ? !this.#hasRoom(owner) : known.owner !== owner) {
      this.refused++;
      return { status: SaStatus.NO_RESOURCES };
    }
    const record = newRecord(ServiceRecord.byteLength);
    bytesOf(record).set(new Uint8Array(view.buffer, view.byteOffset + at, ServiceRecord.byteLength));
    const lease = ServiceRecord.lease.get(view, at);
    const expiresNs = lease === FOR_EVER ? Number.POSITIVE_INFINITY : nowNs + lease * NS_PER_S;
    this.#services.set(key, { record, owner, expiresNs });
    this.#earliestNs = Math.min(this.#earliestNs, expiresNs);
    return { status: MadStatus.OK, record: shown(record, isTrusted) };
  }

  /** Removes the sender's service of this key; one who is trusted may remove any. */
  delete({ view, at, port, isTrusted }: SaRequest): SaAnswer {
    const key = keyOf(view, at);
    const known = this.#services.get(key);
    if (known === undefined || (known.owner !== port.guid && !isTrusted)) return { status: SaStatus.NO_RECORDS };
    this.#services.delete(key);
    return { status: MadStatus.OK, record: shown(known.record, isTrusted) };
  }

  /** The port is gone from the subnet. */
  removePort(owner: bigint): void {
    for (const [key, service] of this.#services) if (service.owner === owner) this.#services.delete(key);
  }

  step(nowNs: number): void {
    if (nowNs < this.#earliestNs) return;
    this.#earliestNs = Number.POSITIVE_INFINITY;
    for (const [key, { expiresNs }] of this.#services) {
      if (expiresNs <= nowNs) this.#services.delete(key);
      else this.#earliestNs = Math.min(this.#earliestNs, expiresNs);
    }
  }

  nextDeadlineNs(): number {
    return this.#earliestNs;
  }

  table(): RecordTable {
    const services = this.#services;
    return {
      attribute: SaAttribute.SERVICE_RECORD,
      bytes: ServiceRecord.byteLength,
      components: SERVICE_RECORD_COMPONENTS,
      *records({ isTrusted }) {
        for (const { record } of services.values()) yield shown(record, isTrusted);
      },
      // who knows the key may ask by it, though no answer shows it
      matches: (bit, wanted, at, record) =>
        bit === KEY_COMPONENT ? hasKey(services.get(keyOf(record, 0))?.record, wanted, at) : undefined,
    };
  }

  #hasRoom(owner: bigint): boolean {
    if (this.#services.size >= SaLimits.SERVICES) return false;
    let count = 0;
    for (const service of this.#services.values()) if (service.owner === owner) count++;
    return count < SaLimits.SERVICES_PER_PORT;
  }
}

function hasKey(record: DataView | undefined, wanted: DataView, at: number): boolean {
  if (record === undefined) return false;
  const key = ServiceRecord.key.get(record, 0);
  return ServiceRecord.key.get(wanted, at).every((byte, i) => byte === key[i]);
}

/** What an answer says of a service: its ServiceKey only to those who are trusted (15.2.5.14), not even to its owner. */
function shown(record: DataView, isTrusted: boolean): DataView {
  if (isTrusted) return record;
  const copy = new DataView(bytesOf(record).slice().buffer);
  ServiceRecord.key.set(copy, 0, new Uint8Array(0));
  return copy;
}

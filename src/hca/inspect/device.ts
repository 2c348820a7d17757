// A live HCA without its many objects: identity, state, ports, event queues, counters. Docs "infinihost" 1.1, 2.8.8, 5.9.

import { countersObject } from "../../base/counters.ts";
import { gidText } from "../../base/inspect.ts";
import { guidText, hex, nameOf } from "../../base/names.ts";
import { MT25204 } from "../../spec/hca/registers.ts";
import { mtuBytes, PortState } from "../../spec/ib/numbers.ts";
import { PortCounter, slDataObject } from "../../spec/ib/port-counters.ts";
import { AdapterCounter } from "../../transport/counters.ts";
import type { AdapterPort } from "../../transport/port.ts";
import type { EventQueue } from "../event-queue.ts";
import type { Hca, Profile } from "../hca.ts";
import { SystemState } from "../system-state.ts";
import type { DeviceView, EqView, PortView, ProfileView } from "./views.ts";

const GID_BYTES = 16;
const GUID_AT = 8;

export function inspectDevice(hca: Hca): DeviceView {
  const { adapter, events, profile } = hca;
  const { major, minor, subMinor } = MT25204.firmware;
  const counters = Object.entries(countersObject(AdapterCounter, adapter.counters));
  return {
    firmware: `${major}.${minor}.${subMinor}`,
    pciId: `${MT25204.vendorId.toString(16)}:${MT25204.deviceId.toString(16)}`,
    systemState: nameOf(SystemState, hca.systemState),
    profile: profile === undefined ? undefined : profileView(profile),
    ports: adapter.ports.map(portView),
    icmPages: adapter.icm.mappedPages,
    registeredBytes: adapter.regions.registeredBytes,
    eqs: events.queues.flatMap((queue) => (queue === undefined ? [] : [eqView(queue)])),
    scheduling: { hasActive: adapter.hasActive, waiting: adapter.waiting.length },
    // Counters are declared with what was done first, and the errors behind (transport/counters.ts).
    counters: Object.fromEntries(counters.slice(0, AdapterCounter.commandErrors)),
    errors: Object.fromEntries(counters.slice(AdapterCounter.commandErrors)),
  };
}

function profileView(profile: Readonly<Profile>): ProfileView {
  return {
    qps: 2 ** profile.logQps,
    cqs: 2 ** profile.logCqs,
    srqs: 2 ** profile.logSrqs,
    regions: 2 ** profile.logMpts,
    multicastEntries: profile.multicastEntries,
    multicastHashEntries: profile.multicastHashEntries,
    uars: 2 ** profile.logUars,
    uarContextBytes: profile.uarcEntryBytes,
    checksAvPort: profile.checksAvPort,
  };
}

function portView(port: AdapterPort): PortView {
  const { wire } = port;
  const gids = new DataView(wire.gids.buffer, wire.gids.byteOffset, wire.gids.byteLength);
  return {
    number: port.number,
    guid: guidText(gids.getBigUint64(GUID_AT)),
    state: nameOf(PortState, wire.state),
    lid: wire.lid,
    lmc: wire.lmc,
    smLid: wire.smLid,
    mtuBytes: mtuBytes(wire.mtuCode),
    pkeys: [...wire.pkeys].flatMap((pkey, index) => (pkey === 0 ? [] : [{ index, pkey: hex(pkey, 4) }])),
    gids: gidsOf(wire.gids, wire.gidCount),
    smiQpn: port.smiQpn < 0 ? undefined : port.smiQpn,
    gsiQpn: port.gsiQpn < 0 ? undefined : port.gsiQpn,
    counters: { ...countersObject(PortCounter, wire.counters), ...slDataObject(wire.slData) },
  };
}

function gidsOf(table: Uint8Array, count: number): { index: number; gid: string }[] {
  const gids: { index: number; gid: string }[] = [];
  for (let index = 0; index < count; index++) {
    const gid = table.subarray(index * GID_BYTES, (index + 1) * GID_BYTES);
    if (gid.some((byte) => byte !== 0)) gids.push({ index, gid: gidText(gid) });
  }
  return gids;
}

function eqView(queue: EventQueue): EqView {
  return {
    number: queue.number,
    size: 2 ** queue.logSize,
    producer: queue.producer >>> 0,
    consumer: queue.consumer >>> 0,
    pending: queue.pendingEvents,
    isArmed: queue.isArmed,
    vector: queue.usesMsix ? queue.vector : undefined,
  };
}

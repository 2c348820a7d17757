// Subscriptions to traps as hosts meet them: InformInfo, Reports and their answers, InformInfoRecord. IBA vol 1, 13.4.8.3, 13.4.11.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { SimulatedSubnet } from "../../src/fabric/simulated-subnet.ts";
import { newMad, newRequest } from "../../src/mad/mad.ts";
import { gmpAddress, type MadPacket, smpAddress } from "../../src/mad/packet.ts";
import { SaLimits } from "../../src/sm/options.ts";
import { MadHeader, SMP_DATA_AT } from "../../src/spec/mad/headers.ts";
import { Method, MgmtClass, SaAttribute, SaStatus, SmAttribute, Trap } from "../../src/spec/mad/numbers.ts";
import { INFORM_INFO_RECORD_INFO_AT, InformInfo, InformInfoRecord, McMemberRecord } from "../../src/spec/mad/sa-records.ts";
import { NOTICE_DETAILS_AT, Notice } from "../../src/spec/mad/sm-attributes.ts";
import { AT, ask, askTable, bit, gidOf, hexOf, request, running, S, statusOf } from "./administrator-kit.ts";

const MS = 1e6;
const ALL = 0xffff;

interface Wish {
  trap?: number;
  subscribe?: number;
  smKey?: bigint;
  qpn?: number;
  lids?: readonly [number, number];
  gid?: Uint8Array;
  type?: number;
}

/** Subscribes (or not any more); by default to everything about one trap. */
function subscribe(subnet: SimulatedSubnet, host: number, wish: Wish = {}): MadPacket {
  const fill = (mad: DataView): void => {
    InformInfo.gid.set(mad, AT, wish.gid ?? new Uint8Array(16));
    InformInfo.lidRangeBegin.set(mad, AT, wish.lids?.[0] ?? ALL);
    InformInfo.lidRangeEnd.set(mad, AT, wish.lids?.[1] ?? 0);
    InformInfo.isGeneric.set(mad, AT, 1);
    InformInfo.subscribe.set(mad, AT, wish.subscribe ?? 1);
    InformInfo.type.set(mad, AT, wish.type ?? ALL);
    InformInfo.trapNumber.set(mad, AT, wish.trap ?? ALL);
    InformInfo.qpn.set(mad, AT, wish.qpn ?? 1);
    InformInfo.producerType.set(mad, AT, 0xffffff);
  };
  return ask(subnet, host, request(Method.SET, SaAttribute.INFORM_INFO, 0n, fill, wish.smKey));
}

/** Reports that a host has got, and answers them. */
function takeReports(
  subnet: SimulatedSubnet,
  host: number,
  isAnswered = true,
): { trap: number; subject: string; issuer: string }[] {
  const reports = subnet.host(host).received.splice(0);
  return reports.map(({ view, madAt }) => {
    assert.equal(MadHeader.method.get(view, madAt), Method.REPORT);
    assert.equal(MadHeader.mgmtClass.get(view, madAt), MgmtClass.SUBN_ADM);
    assert.equal(MadHeader.attributeId.get(view, madAt), SmAttribute.NOTICE);
    if (isAnswered) answer(subnet, host, view, madAt);
    const notice = madAt + AT;
    const at = notice + NOTICE_DETAILS_AT + 6;
    return {
      trap: Notice.trapNumber.get(view, notice),
      subject: hexOf(new Uint8Array(view.buffer, view.byteOffset + at, 16)),
      issuer: hexOf(Notice.issuerGid.get(view, notice)),
    };
  });
}

function answer(subnet: SimulatedSubnet, host: number, view: DataView, madAt: number): void {
  const response = newMad();
  new Uint8Array(response.buffer).set(new Uint8Array(view.buffer, view.byteOffset + madAt, 256));
  MadHeader.method.set(response, 0, Method.REPORT_RESP);
  subnet.host(host).sendGmp(subnet.port(host).smLid, response);
}

/** A host sends a trap of its own to the manager, and takes no notice of TrapRepress. */
function trap(subnet: SimulatedSubnet, host: number, number: number, issuerLid = subnet.port(host).lid): void {
  const mad = newRequest(MgmtClass.SUBN_LID_ROUTED, Method.TRAP, SmAttribute.NOTICE);
  Notice.isGeneric.set(mad, SMP_DATA_AT, 1);
  Notice.type.set(mad, SMP_DATA_AT, 2);
  Notice.producerType.set(mad, SMP_DATA_AT, 1);
  Notice.trapNumber.set(mad, SMP_DATA_AT, number);
  Notice.issuerLid.set(mad, SMP_DATA_AT, issuerLid);
  subnet.host(host).send(smpAddress(0, subnet.port(host).smLid), mad);
  subnet.runFor(MS);
  subnet.host(host).received.splice(0);
}

const join = (subnet: SimulatedSubnet, host: number, mgid: Uint8Array, method: number): void => {
  const mask = bit(0, 1, 2, 6, 7, 12, 13, 16);
  const answered = ask(
    subnet,
    host,
    request(method, SaAttribute.MC_MEMBER_RECORD, mask, (mad) => {
      McMemberRecord.mgid.set(mad, AT, mgid);
      McMemberRecord.portGid.set(mad, AT, gidOf(subnet, host));
      McMemberRecord.joinState.set(mad, AT, 1);
      McMemberRecord.pkey.set(mad, AT, 0xffff);
    }),
  );
  assert.equal(statusOf(answered), 0);
};

test("a host that goes and comes, a group that is made and deleted: the subscriber is told once each", () => {
  const { subnet, manager } = running();
  assert.equal(statusOf(subscribe(subnet, 0)), 0);
  const gid = hexOf(gidOf(subnet, 1));
  subnet.port(1).disable();
  subnet.runFor(MS);
  const gone = takeReports(subnet, 0);
  assert.deepEqual(gone.find(({ trap: number }) => number === Trap.GID_OUT_OF_SERVICE)?.subject, gid);
  assert.ok(
    gone.some(({ trap: number }) => number === Trap.LINK_STATE),
    "the switch's trap is passed on",
  );
  subnet.port(1).enable();
  subnet.runFor(10 * MS);
  assert.equal(takeReports(subnet, 0).find(({ trap: number }) => number === Trap.GID_IN_SERVICE)?.subject, gid);
  const mgid = Uint8Array.of(0xff, 0x12, 0xa0, 0x1c, ...new Array(11).fill(0), 7);
  join(subnet, 2, mgid, Method.SET);
  join(subnet, 2, mgid, Method.DELETE);
  subnet.runFor(MS);
  const groups = takeReports(subnet, 0).filter(({ subject }) => subject === hexOf(mgid));
  assert.deepEqual(
    groups.map(({ trap: number }) => number),
    [Trap.MULTICAST_CREATED, Trap.MULTICAST_DELETED],
  );
  subnet.runFor(60 * S);
  assert.deepEqual(takeReports(subnet, 0), [], "answered reports are not repeated");
  assert.equal(manager.administrator.reporter.pending, 0);
});

test("what is asked for and nothing else: trap number, LIDs, GID, type", () => {
  const { subnet } = running({ hosts: 5 });
  const [one, two] = [subnet.port(1).lid, subnet.port(2).lid];
  subscribe(subnet, 0, { trap: Trap.CAPABILITY_CHANGE, lids: [one, one] });
  subscribe(subnet, 3, { trap: Trap.CAPABILITY_CHANGE, gid: gidOf(subnet, 2), lids: [0, 0] });
  subscribe(subnet, 4, { type: 1 });
  trap(subnet, 1, Trap.CAPABILITY_CHANGE);
  trap(subnet, 2, Trap.CAPABILITY_CHANGE);
  trap(subnet, 2, Trap.SYSTEM_IMAGE_GUID_CHANGE);
  trap(subnet, 1, Trap.CAPABILITY_CHANGE, two);
  assert.deepEqual(
    takeReports(subnet, 0).map(({ issuer }) => issuer),
    [hexOf(gidOf(subnet, 1))],
  );
  assert.deepEqual(
    takeReports(subnet, 3).map(({ issuer }) => issuer),
    [hexOf(gidOf(subnet, 2))],
    "and nothing that another sends in its name",
  );
  assert.deepEqual(takeReports(subnet, 4), []);
});

test("violations of keys are told only to those who know the SM_Key", () => {
  const { subnet } = running();
  subscribe(subnet, 0);
  subscribe(subnet, 2, { smKey: 1n });
  trap(subnet, 1, Trap.BAD_P_KEY);
  assert.deepEqual(takeReports(subnet, 0), []);
  assert.equal(takeReports(subnet, 2).length, 1);
});

test("unsubscribed is unsubscribed; of what does not exist and of nonsense there is a refusal", () => {
  const { subnet, manager } = running();
  subscribe(subnet, 0, { trap: 144 });
  subscribe(subnet, 0, { trap: 144 });
  assert.equal(manager.administrator.subscriptions.size, 1, "the same twice is one");
  assert.equal(statusOf(subscribe(subnet, 1, { trap: 144, subscribe: 0 })), SaStatus.REQ_INVALID, "not this host's");
  assert.equal(statusOf(subscribe(subnet, 0, { trap: 144, subscribe: 0 })), 0);
  assert.equal(statusOf(subscribe(subnet, 0, { trap: 144, subscribe: 0 })), SaStatus.REQ_INVALID);
  assert.equal(statusOf(subscribe(subnet, 0, { subscribe: 2 })), SaStatus.REQ_INVALID);
  assert.equal(statusOf(subscribe(subnet, 0, { lids: [9, 8] })), SaStatus.REQ_INVALID);
  trap(subnet, 1, 144);
  assert.deepEqual(takeReports(subnet, 0), []);
});

test("who does not answer is asked again, then given up; who is gone is forgotten; nobody else waits", () => {
  const { subnet, manager } = running();
  const { reporter, subscriptions } = manager.administrator;
  subscribe(subnet, 0, { trap: 144 });
  subscribe(subnet, 1, { trap: 144 });
  for (let i = 0; i < 20; i++) trap(subnet, 2, 144);
  assert.equal(takeReports(subnet, 0, false).length, SaLimits.REPORTS_PER_SUBSCRIPTION, "few at a time");
  takeReports(subnet, 1);
  assert.equal(reporter.counts.lostReports, 2 * (20 - SaLimits.REPORTS_PER_SUBSCRIPTION));
  subnet.runFor(5 * S);
  assert.ok(takeReports(subnet, 0, false).length >= 3 * SaLimits.REPORTS_PER_SUBSCRIPTION, "and again");
  subnet.runFor(20 * S);
  takeReports(subnet, 0, false);
  assert.equal(reporter.counts.droppedSubscriptions, 1);
  assert.equal(reporter.pending, 0);
  assert.equal(subscriptions.size, 1);
  subnet.port(1).disable();
  subnet.runFor(MS);
  assert.equal(subscriptions.size, 0);
});

test("InformInfoRecord: one's own, or all with the SM_Key; other keys are not answered; bounds", () => {
  const { subnet, manager } = running();
  subscribe(subnet, 0, { trap: 144, qpn: 5 });
  subscribe(subnet, 1, { trap: 64 });
  const records = (host: number, smKey: bigint, mask = 0n, trapNumber = 0): DataView[] =>
    askTable(
      subnet,
      host,
      request(
        Method.GET_TABLE,
        SaAttribute.INFORM_INFO_RECORD,
        mask,
        (mad) => InformInfo.trapNumber.set(mad, AT + INFORM_INFO_RECORD_INFO_AT, trapNumber),
        smKey,
      ),
    ).records;
  const [own] = records(0, 0n);
  assert.equal(records(0, 0n).length, 1);
  assert.equal(hexOf(InformInfoRecord.subscriberGid.get(own!, 0)), hexOf(gidOf(subnet, 0)));
  assert.equal(InformInfo.qpn.get(own!, INFORM_INFO_RECORD_INFO_AT), 5);
  assert.equal(records(2, 1n).length, 2);
  assert.equal(records(2, 1n, bit(10), 64).length, 1);
  const before = manager.administrator.counts.dropped;
  subnet.host(0).send(
    gmpAddress(0, 1),
    request(Method.GET_TABLE, SaAttribute.INFORM_INFO_RECORD, 0n, () => {}, 2n),
  );
  subnet.runFor(MS);
  assert.equal(subnet.host(0).received.length, 0);
  assert.equal(manager.administrator.counts.dropped, before + 1);
  let taken = 0;
  for (let n = 0; n < SaLimits.SUBSCRIPTIONS_PER_PORT + 3; n++)
    if (statusOf(subscribe(subnet, 2, { trap: n + 1 })) === 0) taken++;
  assert.equal(taken, SaLimits.SUBSCRIPTIONS_PER_PORT);
  assert.equal(manager.administrator.subscriptions.refused, 3);
});

// MultiPathRecord: the request in one MAD or in segments, the answer in segments. IBA vol 1, 15.2.5.20, 13.6.3.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { SimulatedSubnet } from "../../src/fabric/simulated-subnet.ts";
import { bytesOf, copyMad, newMad } from "../../src/mad/mad.ts";
import { IPOIB_BROADCAST } from "../../src/sm/sa/mcmember.ts";
import { MultiPathComponent as M } from "../../src/spec/mad/components.ts";
import { MadHeader, Rmpp, SA_DATA_BYTES } from "../../src/spec/mad/headers.ts";
import { Method, RmppFlag, RmppStatus, RmppType, SaAttribute, SaStatus } from "../../src/spec/mad/numbers.ts";
import { GID_BYTES, MultiPathRecord, PathRecord } from "../../src/spec/mad/sa-records.ts";
import { AT, ask, bit, gidOf, hexOf, request, running, S, statusOf } from "./administrator-kit.ts";

const MS = 1e6;

interface Wish {
  sources: readonly Uint8Array[];
  targets: readonly Uint8Array[];
  numbPath?: number;
  isIndependent?: boolean;
}

/** A whole request: headers, and the record with its GIDs. */
function multiPath(
  { sources, targets, numbPath, isIndependent }: Wish,
  withoutCounts = false,
): { mad: DataView; data: Uint8Array } {
  const data = new Uint8Array(MultiPathRecord.byteLength + (sources.length + targets.length) * GID_BYTES);
  const view = new DataView(data.buffer);
  let mask = withoutCounts ? 0n : bit(M.SGID_COUNT, M.DGID_COUNT);
  MultiPathRecord.sgidCount.set(view, 0, sources.length);
  MultiPathRecord.dgidCount.set(view, 0, targets.length);
  if (numbPath !== undefined) {
    mask |= bit(M.NUMB_PATH);
    MultiPathRecord.numbPath.set(view, 0, numbPath);
  }
  if (isIndependent === true) {
    mask |= bit(M.INDEPENDENCE);
    MultiPathRecord.independence.set(view, 0, 1);
  }
  [...sources, ...targets].forEach((gid, i) => {
    data.set(gid, MultiPathRecord.byteLength + i * GID_BYTES);
  });
  return { mad: request(Method.GET_MULTI, SaAttribute.MULTI_PATH_RECORD, mask), data };
}

function inOneMad(wish: Wish, withoutCounts = false): DataView {
  const { mad, data } = multiPath(wish, withoutCounts);
  bytesOf(mad).set(data.subarray(0, SA_DATA_BYTES), AT);
  return mad;
}

/** The request in segments. */
function segmentsOf({ mad, data }: { mad: DataView; data: Uint8Array }): DataView[] {
  const count = Math.max(1, Math.ceil(data.length / SA_DATA_BYTES));
  return Array.from({ length: count }, (_, i) => {
    const segment = copyMad(bytesOf(mad));
    const part = data.subarray(i * SA_DATA_BYTES, (i + 1) * SA_DATA_BYTES);
    bytesOf(segment).set(part, AT);
    Rmpp.version.set(segment, 0, 1);
    Rmpp.type.set(segment, 0, RmppType.DATA);
    const isLast = i === count - 1;
    Rmpp.flags.set(segment, 0, RmppFlag.ACTIVE | (i === 0 ? RmppFlag.FIRST : 0) | (isLast ? RmppFlag.LAST : 0));
    Rmpp.segment.set(segment, 0, i + 1);
    Rmpp.payloadOrWindow.set(segment, 0, isLast ? part.length + 20 : data.length + count * 20);
    return segment;
  });
}

interface Seen {
  acks: number[];
  aborts: number[];
  stops: number[];
  paths: DataView[];
  isWhole: boolean;
}

/** What has come to a host: answers to segments, and segments of the answer, which it acknowledges. */
function look(subnet: SimulatedSubnet, host: number): Seen {
  const seen: Seen = { acks: [], aborts: [], stops: [], paths: [], isWhole: false };
  const driver = subnet.host(host);
  const parts: Uint8Array[] = [];
  for (let packets = driver.received.splice(0); packets.length > 0; packets = driver.received.splice(0)) {
    for (const { view, madAt, bytes } of packets) {
      const type = Rmpp.type.get(view, madAt);
      if (type === RmppType.ACK) seen.acks.push(Rmpp.segment.get(view, madAt));
      if (type === RmppType.ABORT) seen.aborts.push(Rmpp.status.get(view, madAt));
      if (type === RmppType.STOP) seen.stops.push(Rmpp.status.get(view, madAt));
      if (type !== RmppType.DATA) {
        assert.equal(MadHeader.method.get(view, madAt), Method.GET_MULTI_RESP, "turned over");
        continue;
      }
      assert.equal(MadHeader.method.get(view, madAt), Method.GET_MULTI_RESP);
      assert.equal(MadHeader.attributeId.get(view, madAt), SaAttribute.PATH_RECORD);
      seen.isWhole = (Rmpp.flags.get(view, madAt) & RmppFlag.LAST) !== 0;
      const length = seen.isWhole ? Rmpp.payloadOrWindow.get(view, madAt) - 20 : SA_DATA_BYTES;
      parts.push(bytes.slice(madAt + AT, madAt + AT + length));
      const ack = newMad();
      bytesOf(ack).set(bytes.subarray(madAt, madAt + AT));
      MadHeader.method.set(ack, 0, Method.GET_MULTI);
      Rmpp.type.set(ack, 0, RmppType.ACK);
      Rmpp.flags.set(ack, 0, RmppFlag.ACTIVE);
      Rmpp.segment.set(ack, 0, parts.length);
      Rmpp.payloadOrWindow.set(ack, 0, parts.length + 8);
      driver.sendGmp(subnet.port(host).smLid, ack);
    }
    subnet.runFor(0);
  }
  const all = Buffer.concat(parts);
  for (let at = 0; at < all.length; at += PathRecord.byteLength)
    seen.paths.push(new DataView(all.buffer, all.byteOffset + at, 64));
  return seen;
}

function send(subnet: SimulatedSubnet, host: number, mads: readonly DataView[]): Seen {
  for (const mad of mads) subnet.host(host).sendGmp(subnet.port(host).smLid, mad);
  subnet.runFor(0);
  return look(subnet, host);
}

const pairs = (paths: readonly DataView[]): string[] =>
  paths.map((path) => `${hexOf(PathRecord.sgid.get(path, 0).slice(8))}-${hexOf(PathRecord.dgid.get(path, 0).slice(8))}`);

test("from each of some to each of others, in one MAD; NumbPath bounds them", () => {
  const { subnet } = running({ hosts: 5 });
  const gid = (host: number): Uint8Array => gidOf(subnet, host);
  const wish = { sources: [gid(0), gid(1)], targets: [gid(2), gid(3), gid(4)] };
  const { paths, isWhole } = send(subnet, 0, [inOneMad(wish)]);
  assert.ok(isWhole);
  const expected = wish.sources.flatMap((s) => wish.targets.map((t) => `${hexOf(s.slice(8))}-${hexOf(t.slice(8))}`));
  assert.deepEqual(pairs(paths), expected);
  assert.deepEqual(
    paths.map((path) => PathRecord.slid.get(path, 0)),
    [0, 0, 0, 1, 1, 1].map((host) => subnet.port(host).lid),
  );
  assert.equal(send(subnet, 0, [inOneMad({ ...wish, numbPath: 4 })]).paths.length, 4);
});

test("a request of many GIDs comes in segments, is acknowledged, and answered in segments; a lost ACK is given again", () => {
  const { subnet, manager } = running({ hosts: 20, portsPerSwitch: 24 });
  const gids = Array.from({ length: 20 }, (_, host) => gidOf(subnet, host));
  const segments = segmentsOf(multiPath({ sources: gids.slice(0, 4), targets: gids }));
  assert.equal(segments.length, 3);
  const seen = send(subnet, 0, segments);
  assert.deepEqual(seen.acks, [1, 3]);
  assert.equal(seen.paths.length, 80);
  assert.ok(seen.isWhole);
  const again = send(subnet, 0, [segments[2]!]);
  assert.deepEqual(again, { acks: [3], aborts: [], stops: [], paths: [], isWhole: false });
  assert.equal(manager.administrator.segmented.completed, 1);
  assert.equal(manager.administrator.incomplete, 0);
});

test("segments doubled and out of order: acknowledged as far as they are there, the message is whole", () => {
  const { subnet } = running({ hosts: 20, portsPerSwitch: 24 });
  const gids = Array.from({ length: 20 }, (_, host) => gidOf(subnet, host));
  const [a, b, c] = segmentsOf(multiPath({ sources: gids.slice(0, 4), targets: gids })) as [DataView, DataView, DataView];
  const seen = send(subnet, 0, [a, c, a, b, b, c]);
  assert.deepEqual(seen.acks, [1, 1, 1, 2, 3]);
  assert.equal(seen.paths.length, 80);
});

test("with the independence selector the paths share least: another switch each", () => {
  const { subnet } = running({ hosts: 6, switches: 3, shape: "loop" }, { lmc: 1 });
  const [from, to] = [gidOf(subnet, 0), gidOf(subnet, 1)];
  const wish = { sources: [from, gidOf(subnet, 3)], targets: [to, gidOf(subnet, 4)], numbPath: 2 };
  const plain = send(subnet, 0, [inOneMad(wish)]).paths;
  assert.equal(new Set(pairs(plain)).size, 1, "two LIDs of one pair");
  const apart = send(subnet, 0, [inOneMad({ ...wish, isIndependent: true })]).paths;
  assert.deepEqual(
    [PathRecord.sgid, PathRecord.dgid].map((field) => new Set(apart.map((path) => hexOf(field.get(path, 0)))).size),
    [2, 2],
    "no port in common",
  );
});

test("refused: no counts, none of a side, more GIDs said than sent, GIDs of nobody and of groups, too many pairs", () => {
  const { subnet } = running({ hosts: 2 });
  const [a, b] = [gidOf(subnet, 0), gidOf(subnet, 1)];
  const stranger = Uint8Array.of(0xfe, 0x80, ...new Array(13).fill(0), 9);
  const status = (mad: DataView): number => statusOf(ask(subnet, 0, mad));
  assert.equal(status(inOneMad({ sources: [a], targets: [b] }, true)), SaStatus.REQ_INSUFFICIENT_COMPONENTS);
  assert.equal(status(inOneMad({ sources: [a], targets: [] })), SaStatus.REQ_INVALID);
  assert.equal(status(inOneMad({ sources: new Array(8).fill(a), targets: new Array(8).fill(b) })), SaStatus.REQ_INVALID);
  assert.equal(status(inOneMad({ sources: [a], targets: [stranger] })), SaStatus.REQ_INVALID_GID);
  assert.equal(status(inOneMad({ sources: [a], targets: [IPOIB_BROADCAST] })), SaStatus.REQ_INVALID_GID);
  const driver = subnet.host(0);
  const many = { sources: new Array(200).fill(a), targets: new Array(200).fill(b) };
  for (const mad of segmentsOf(multiPath(many))) driver.sendGmp(subnet.port(0).smLid, mad);
  subnet.runFor(0);
  const last = driver.received.splice(0).at(-1)!;
  assert.equal(statusOf(last), SaStatus.NO_RESOURCES);
});

test("requests that never end: bounded in number, length and time, each told why, none left behind", () => {
  const { subnet, manager } = running({ hosts: 3 });
  const { administrator } = manager;
  const gids = new Array<Uint8Array>(60).fill(gidOf(subnet, 0));
  const first = (tid: bigint): DataView => {
    const [mad] = segmentsOf(multiPath({ sources: gids, targets: gids }));
    MadHeader.tid.setBig(mad!, 0, tid);
    return mad!;
  };
  const seen = send(
    subnet,
    0,
    Array.from({ length: 10 }, (_, n) => first(BigInt(n))),
  );
  assert.equal(seen.acks.length, 4, "four of one host at a time");
  assert.deepEqual(seen.stops, new Array(6).fill(RmppStatus.RESOURCES));
  assert.equal(administrator.incomplete, 4);
  assert.equal(send(subnet, 1, [first(1n)]).acks.length, 1, "others are not kept out");
  subnet.runFor(5 * S);
  assert.deepEqual(look(subnet, 0).aborts, new Array(4).fill(RmppStatus.TIME_TOO_LONG));
  assert.equal(administrator.incomplete, 0);
  assert.equal(administrator.segmented.abandoned, 5);

  // one that goes on for ever, a segment after the other
  const endless = first(77n);
  let stop: number[] = [];
  let sent = 0;
  for (let segment = 1; segment < 1000 && stop.length === 0; segment++) {
    Rmpp.segment.set(endless, 0, segment);
    Rmpp.flags.set(endless, 0, RmppFlag.ACTIVE | (segment === 1 ? RmppFlag.FIRST : 0));
    stop = send(subnet, 0, [endless]).stops;
    sent = segment;
  }
  assert.deepEqual([stop, sent], [[RmppStatus.RESOURCES], 41], "8184 bytes at most");
  assert.equal(administrator.incomplete, 0);

  // and one that is slow
  const slow = first(78n);
  let aborts: number[] = [];
  let seconds = 0;
  for (let segment = 1; segment < 100 && aborts.length === 0; segment++) {
    Rmpp.segment.set(slow, 0, segment);
    Rmpp.flags.set(slow, 0, RmppFlag.ACTIVE | (segment === 1 ? RmppFlag.FIRST : 0));
    aborts = send(subnet, 0, [slow]).aborts;
    subnet.runFor(3 * S);
    aborts.push(...look(subnet, 0).aborts);
    seconds += 3;
  }
  assert.deepEqual(aborts, [RmppStatus.TIME_TOO_LONG]);
  assert.ok(seconds <= 21, `${seconds} s`);
});

test("segments that cannot be: their transfer is aborted, with the reason", () => {
  const { subnet, manager } = running({ hosts: 2 });
  const gids = new Array<Uint8Array>(20).fill(gidOf(subnet, 0));
  const whole = (): DataView[] => segmentsOf(multiPath({ sources: gids, targets: gids }));
  const bent = (index: number, bend: (mad: DataView) => void): number[] => {
    const segments = whole();
    bend(segments[index]!);
    return send(subnet, 0, segments.slice(0, index + 1)).aborts;
  };
  assert.deepEqual(
    bent(0, (mad) => Rmpp.version.set(mad, 0, 2)),
    [RmppStatus.BAD_VERSION],
  );
  assert.deepEqual(
    bent(0, (mad) => Rmpp.flags.set(mad, 0, RmppFlag.ACTIVE)),
    [RmppStatus.BAD_SEGMENT],
  );
  assert.deepEqual(
    bent(1, (mad) => Rmpp.flags.set(mad, 0, RmppFlag.ACTIVE | RmppFlag.FIRST)),
    [RmppStatus.BAD_SEGMENT],
  );
  assert.deepEqual(
    bent(1, (mad) => Rmpp.segment.set(mad, 0, 500)),
    [RmppStatus.SEGMENT_TOO_BIG],
  );
  for (const length of [19, 221, 0xffffffff]) {
    const aborts = bent(3, (mad) => Rmpp.payloadOrWindow.set(mad, 0, length));
    assert.deepEqual(aborts, [RmppStatus.BAD_LENGTH], `a last segment of ${length}`);
  }
  assert.equal(manager.administrator.incomplete, 0);
  subnet.runFor(MS);
});

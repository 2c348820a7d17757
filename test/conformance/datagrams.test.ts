// Datagrams: keys, headers and multicast. IBA vol 1, 9.6.1, 9.8.3, 10.5; docs "infinihost" 5.5.2, 7.1, 7.2.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { DriverQueuePair, SendRequest } from "../../src/driver/queue-pair.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { MGM_BYTES, MGM_QP_VALID, MGM_QPS_AT, Mgm, QpContext, QpOptional } from "../../src/spec/hca/contexts.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { QpState } from "../../src/spec/ib/numbers.ts";
import { AdapterCounter } from "../../src/transport/counters.ts";
import { Buffer64, datagramQp, type Guest, TestBed } from "../in-process/pair.ts";
import { stateOf, statuses } from "./kit.ts";

const QKEY = 0x1234;
const counterOf = (guest: Guest, name: keyof typeof AdapterCounter): number =>
  guest.node.hca.adapter.counters[AdapterCounter[name] as number]!;
const gidOf = (guest: Guest): Uint8Array => guest.wire.gids.slice(0, 16);

function scene(): {
  bed: TestBed;
  qpA: DriverQueuePair;
  qpB: DriverQueuePair;
  inbox: Buffer64;
  send: (more?: Partial<SendRequest>) => void;
} {
  const bed = new TestBed(2);
  const [qpA, qpB] = [datagramQp(bed[0], QKEY), datagramQp(bed[1], QKEY)];
  const inbox = new Buffer64(bed[1], 4096);
  const send = (more: Partial<SendRequest> = {}): void => {
    qpA.postSend({
      ...{ opcode: SendOpcode.SEND, inline: Uint8Array.of(1, 2, 3), remoteQpn: qpB.number, qkey: QKEY },
      ...{ address: { dlid: 2 } },
      ...more,
    });
    bed.domain.settle();
  };
  return { bed, qpA, qpB, inbox, send };
}

test("a GRH must name the port it reaches; then it lies in front of the data (9.6.1.2, 11.4.1.2)", () => {
  const { bed, qpB, inbox, send } = scene();
  qpB.postReceive([inbox.sge()]);
  send({ address: { dlid: 2, dgid: Uint8Array.from({ length: 16 }, () => 9), hopLimit: 1 } });
  assert.deepEqual([statuses(bed[1]), counterOf(bed[1], "droppedGid")], [[], 1]);
  send({ address: { dlid: 2, dgid: gidOf(bed[1]), hopLimit: 1 } });
  const [completion] = bed[1].cq.poll();
  assert.deepEqual([completion?.hasGrh, completion?.byteCount], [true, 43]);
  assert.ok(inbox.bytes.subarray(24, 40).equals(gidOf(bed[1])), "destination GID");
  assert.ok(inbox.bytes.subarray(8, 24).equals(gidOf(bed[0])), "source GID");
  assert.deepEqual([...inbox.bytes.subarray(40, 43)], [1, 2, 3]);
});

test("a Q_Key with its top bit set stands for the sender's own (10.2.5)", () => {
  const { bed, qpB, inbox, send } = scene();
  qpB.postReceive([inbox.sge()]);
  send({ qkey: 0x9999 });
  assert.equal(counterOf(bed[1], "droppedQkey"), 1);
  send({ qkey: 0x80000000 });
  assert.deepEqual(statuses(bed[1]), ["OK"]);
});

test("partitions: another one and two limited members do not hear each other (10.9.3)", () => {
  for (const [mine, theirs, isHeard] of [
    [0xffff, 0x7fff, true],
    [0x7fff, 0xffff, true],
    [0x7fff, 0x7fff, false],
    [0x8001, 0x8002, false],
    [0x8000, 0x8000, false],
  ] as const) {
    const { bed, qpB, inbox, send } = scene();
    bed.wires[0]!.pkeys[0] = mine;
    bed.wires[1]!.pkeys[0] = theirs;
    qpB.postReceive([inbox.sge()]);
    send();
    assert.deepEqual(statuses(bed[1]), isHeard ? ["OK"] : [], `${mine.toString(16)} → ${theirs.toString(16)}`);
    assert.equal(counterOf(bed[1], "droppedPkey"), isHeard ? 0 : 1);
  }
});

test("a datagram that does not fit is dropped and its receive WQE stays; one that hits a bad buffer fails the receiver (9.8.3)", () => {
  const { bed, qpB, inbox, send } = scene();
  qpB.postReceive([inbox.sge(0, 42)]);
  send();
  assert.deepEqual([statuses(bed[1]), counterOf(bed[1], "droppedTooLong")], [[], 1]);
  send({ inline: Uint8Array.of(7, 8) });
  assert.deepEqual(statuses(bed[1]), ["OK"]);
  qpB.postReceive([{ ...inbox.sge(), lkey: 0x4242 }]);
  send();
  assert.deepEqual([statuses(bed[1]), stateOf(qpB)], [["LOCAL_PROTECTION"], "ERR"]);
});

test("SQE: the send queue stops and flushes, receiving goes on, and the queue can be repaired (10.3.1.6)", () => {
  const { bed, qpA, qpB, inbox, send } = scene();
  const own = new Buffer64(bed[0], 100);
  qpA.postReceive([own.sge()]);
  const to = { opcode: SendOpcode.SEND, remoteQpn: qpB.number, qkey: QKEY, address: { dlid: 2 } };
  qpA.postSend({ ...to, sges: [{ ...own.sge(0, 8), lkey: 0x4242 }] });
  qpA.postSend({ ...to, inline: Uint8Array.of(1), isSignaled: false });
  bed.domain.settle();
  assert.deepEqual([statuses(bed[0]), stateOf(qpA)], [["LOCAL_PROTECTION", "WR_FLUSHED"], "SQE"]);
  qpB.postSend({ ...to, inline: Uint8Array.of(1), remoteQpn: qpA.number, address: { dlid: 1 }, isSignaled: false });
  bed.domain.settle();
  assert.deepEqual(statuses(bed[0]), ["OK"], "a datagram for it");
  qpA.transition(Command.SQERR2RTS_QP, QpState.RTS, QpOptional.QKEY, (view, at) => QpContext.qkey.set(view, at, QKEY));
  qpB.postReceive([inbox.sge()]);
  send();
  assert.deepEqual([statuses(bed[0]), statuses(bed[1])], [["OK"], ["OK"]]);
});

const MGID = Uint8Array.from([0xff, 0x12, 0x40, 0x1b, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
const MLID = 0xc001;

/** The driver's way to attach QPs: an entry in the bucket of the MGID, or in a chain behind it. */
function attach(guest: Guest, qps: readonly DriverQueuePair[], options: { mgid?: Uint8Array; via?: number } = {}): number {
  const mgid = options.mgid ?? MGID;
  const { commands } = guest.device;
  const { lo: bucket } = commands.run(Command.MGID_HASH, {
    input: (view, at) => {
      for (let i = 0; i < 16; i++) view.setUint8(at + i, mgid[i] ?? 0);
    },
  });
  const write = (index: number, next: number, gid: Uint8Array, members: readonly DriverQueuePair[]): void => {
    commands.run(Command.WRITE_MGM, {
      modifier: index,
      input: (view, at) => {
        for (let i = 0; i < MGM_BYTES; i += 4) view.setUint32(at + i, 0);
        Mgm.next.set(view, at, next);
        Mgm.mgid.set(view, at, gid);
        members.forEach((qp, i) => {
          view.setUint32(at + MGM_QPS_AT + 4 * i, (MGM_QP_VALID | qp.number) >>> 0);
        });
      },
    });
  };
  const { via } = options;
  if (via === undefined) write(bucket, 0, mgid, qps);
  else {
    write(
      bucket,
      via,
      Uint8Array.from({ length: 16 }, () => 1),
      [],
    );
    write(via, 0, mgid, qps);
  }
  return bucket;
}

test("multicast reaches every attached QP of every member, the sender's own HCA too, and nobody else (10.5)", () => {
  const bed = new TestBed(3);
  const inboxes = bed.guests.map((guest) => new Buffer64(guest, 4096));
  const qps = bed.guests.map((guest) => [datagramQp(guest, QKEY), datagramQp(guest, QKEY)] as const);
  attach(bed[0], qps[0]!);
  attach(bed[1], qps[1]!, { via: 200 });
  bed.guests.forEach((_, g) => {
    for (const qp of qps[g]!) for (let i = 0; i < 4; i++) qp.postReceive([inboxes[g]!.sge(i * 100, 100)]);
  });
  const sender = datagramQp(bed[0], QKEY);
  const message = { opcode: SendOpcode.SEND, inline: Uint8Array.of(5), remoteQpn: 0xffffff, qkey: QKEY, isSignaled: false };
  sender.postSend({ ...message, address: { dlid: MLID, dgid: MGID } });
  bed.domain.settle();
  assert.deepEqual(
    bed.guests.map((guest) => statuses(guest).length),
    [2, 2, 0],
  );
  const members = bed[1].device.commands.run(Command.READ_MGM, { modifier: 200, outputBytes: MGM_BYTES }).output;
  assert.equal(members.getUint32(MGM_QPS_AT), (MGM_QP_VALID | qps[1]![0].number) >>> 0);
  sender.postSend({ ...message, address: { dlid: MLID } });
  bed.domain.settle();
  assert.equal(counterOf(bed[0], "droppedUnreachable"), 1, "multicast without a GRH has no group");
  qps[1]![0].reset();
  sender.postSend({ ...message, address: { dlid: MLID, dgid: MGID } });
  bed.domain.settle();
  assert.equal(statuses(bed[1]).length, 1, "an attached QP that is gone is passed over");
});

test("a multicast chain that leads in a circle ends after 256 entries, and entries past the table are refused (4.6)", () => {
  const bed = new TestBed(1);
  const { device } = bed[0];
  const qp = datagramQp(bed[0], QKEY);
  const bucket = attach(bed[0], [qp], { mgid: Uint8Array.from({ length: 16 }, () => 3) });
  device.commands.run(Command.WRITE_MGM, {
    modifier: bucket,
    input: (view, at) => {
      for (let i = 0; i < MGM_BYTES; i += 4) view.setUint32(at + i, 0);
      Mgm.next.set(view, at, bucket);
    },
  });
  const dgid = Uint8Array.from({ length: 16 }, () => 3);
  qp.postSend({
    opcode: SendOpcode.SEND,
    inline: Uint8Array.of(1),
    remoteQpn: 0xffffff,
    qkey: QKEY,
    address: { dlid: MLID, dgid },
  });
  bed.domain.settle();
  assert.deepEqual(statuses(bed[0]), ["OK"]);
  for (const opcode of [Command.READ_MGM, Command.WRITE_MGM]) {
    assert.throws(() => device.commands.run(opcode, { modifier: 1 << 20, outputBytes: MGM_BYTES, input: () => {} }), /BAD_INDEX/);
  }
});

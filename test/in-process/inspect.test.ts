// What a live HCA says of itself (hca/inspect.ts): the values of known objects, answers that change nothing, and no answer that
// fails, whatever a guest has written into its contexts and its memory.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { NotFoundError } from "../../src/base/inspect.ts";
import { DriverError } from "../../src/driver/access.ts";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { DriverSharedReceiveQueue } from "../../src/driver/shared-receive-queue.ts";
import { PAGE_OBJECTS } from "../../src/hca/inspect/page.ts";
import {
  inspectDevice,
  inspectList,
  inspectObject,
  type ListKind,
  type ObjectDetails,
  type ObjectKind,
  type ObjectViews,
  type QpView,
} from "../../src/hca/inspect.ts";
import { Command, QP_CONTEXT_AT } from "../../src/spec/hca/commands.ts";
import { Access, CqContext, MGM_QP_VALID, MGM_QPS_AT, Mgm, Mpt, QpContext } from "../../src/spec/hca/contexts.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Bar0 } from "../../src/spec/hca/registers.ts";
import { QpState, Service } from "../../src/spec/ib/numbers.ts";
import { Buffer64, connect, datagramQp, type Guest, newQp, TestBed } from "./pair.ts";

const SEED = Number(process.env.FUZZ_SEED ?? 1);
const KINDS: readonly ListKind[] = ["qps", "cqs", "srqs", "regions", "groups"];

const optionsOf = (bed: TestBed) => ({
  nowNs: bed.clock.nowNs(),
  nameOfHca: (adapter: unknown) => bed.guests.find(({ node }) => node.hca.adapter === adapter)?.node.name ?? "?",
});

/** All objects of a kind, page by page. */
function listAll<K extends ListKind>(bed: TestBed, guest: Guest, kind: K): ObjectViews[K][] {
  const items: ObjectViews[K][] = [];
  for (let from: number | undefined = 0; from !== undefined; ) {
    const page: { items: ObjectViews[K][]; next: number | undefined } = inspectList(
      guest.node.hca,
      kind,
      from,
      Number.MAX_SAFE_INTEGER,
      optionsOf(bed),
    );
    assert.ok(page.items.length <= PAGE_OBJECTS);
    assert.ok(page.next === undefined || page.next > from, "pages go on");
    items.push(...page.items);
    from = page.next;
  }
  return items;
}

const details = <K extends ObjectKind>(bed: TestBed, guest: Guest, kind: K, number: number): ObjectDetails[K] =>
  inspectObject(guest.node.hca, kind, number, optionsOf(bed));

const viewOf = (bed: TestBed, guest: Guest, qp: DriverQueuePair): QpView => {
  const view = listAll(bed, guest, "qps").find(({ number }) => number === qp.number);
  assert.ok(view !== undefined);
  return view;
};

test("the device: identity, state, table sizes, port, event queues", () => {
  const bed = new TestBed(1);
  const { hca } = bed[0].node;
  const view = inspectDevice(hca);
  assert.deepEqual([view.firmware, view.pciId, view.systemState], ["1.2.0", "15b3:6274", "INITIALISED"]);
  assert.deepEqual([view.profile?.qps, view.profile?.cqs, view.profile?.regions], [4096, 4096, 4096]);
  const [port] = view.ports;
  assert.deepEqual([port?.state, port?.lid, port?.mtuBytes], ["ACTIVE", 1, 2048]);
  assert.deepEqual(port?.pkeys, [{ index: 0, pkey: "0xffff" }]);
  assert.deepEqual(port?.gids, [{ index: 0, gid: "fe80:0000:0000:0000:0002:c903:0000:0001" }]);
  assert.deepEqual([port?.smiQpn, port?.gsiQpn], [bed[0].device.specialQpBase, bed[0].device.specialQpBase + 2]);
  assert.deepEqual(
    view.eqs.map(({ number, size, vector, pending }) => [number, size, vector, pending]),
    [
      [1, 1024, 0, 0],
      [2, 256, 1, 0],
      [3, 256, 2, 0],
    ],
  );
  assert.ok((view.counters.commands ?? 0) > 10);
  assert.equal(view.errors.commandErrors, 0);
  bed[0].node.access.writeRegister(Bar0.RESET, 1);
  const after = inspectDevice(hca);
  assert.deepEqual([after.systemState, after.profile, after.eqs.length], ["RESET", undefined, 0]);
});

test("a queue pair in every state", () => {
  const bed = new TestBed(2);
  const initial = newQp(bed[0], Service.RC);
  initial.init();
  const receiving = newQp(bed[0], Service.UC);
  receiving.init();
  receiving.readyToReceive({ remoteQpn: 0x321, dlid: 2, receivePsn: 77 });
  const [ready] = connect(bed[0], bed[1], Service.RC, { sendPsn: 5, receivePsn: 5, retryCount: 6, rnrRetry: 3 });
  const drained = connect(bed[0], bed[1])[0];
  drained.transition(Command.RTS2SQD_QP, QpState.SQD, 0);
  const failed = connect(bed[0], bed[1])[0];
  failed.toError();
  const datagram = datagramQp(bed[0]);
  datagram.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(1) });
  const gone = connect(bed[0], bed[1])[0];
  gone.reset();
  bed.domain.settle();
  assert.deepEqual(
    [initial, receiving, ready, drained, failed, datagram].map((qp) => {
      const { service, state, remote } = viewOf(bed, bed[0], qp);
      return [service, state, remote?.lid];
    }),
    [
      ["RC", "INIT", undefined],
      ["UC", "RTR", 2],
      ["RC", "RTS", 2],
      ["RC", "SQD", 2],
      ["RC", "ERR", 2],
      ["UD", "SQE", undefined],
    ],
  );
  assert.equal(viewOf(bed, bed[0], receiving).receivePsn, 77);
  const { sendPsn, retriesLeft, rnrRetriesLeft, sendCq, pd, uar, send } = viewOf(bed, bed[0], ready);
  assert.deepEqual([sendPsn, retriesLeft, rnrRetriesLeft], [5, 6, 3]);
  assert.deepEqual([sendCq, pd, uar], [bed[0].cq.number, bed[0].pd, bed[0].device.uar]);
  assert.deepEqual(send, { size: 64, head: 0, posted: 0 });
  assert.throws(() => details(bed, bed[0], "qp", gone.number), NotFoundError);
});

test("a sender that waits for a receive: what for, how long, what it holds; its work requests, decoded", () => {
  const bed = new TestBed(2);
  const [qp, peer] = connect(bed[0], bed[1], Service.RC, { minRnrTimer: 31, rnrRetry: 4 });
  const source = new Buffer64(bed[0], 4096);
  const target = new Buffer64(bed[1], 4096);
  qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge(0, 16)], ...target.remote() });
  qp.postSend({ opcode: SendOpcode.SEND, sges: [source.sge(0, 100), source.sge(128, 28)], isSolicited: true });
  bed.domain.settle();
  qp.postSend({ opcode: SendOpcode.ATOMIC_CS, sges: [source.sge(0, 8)], ...target.remote(8), compare: 7n, swapAdd: 9n });
  qp.postSend({ opcode: SendOpcode.SEND_IMM, inline: new Uint8Array(5), immediate: 0xabcd, isSignaled: false, isFenced: true });
  qp.postSend({ opcode: SendOpcode.SEND, sges: [{ ...source.sge(), lkey: 0x4242 }] });
  bed.domain.settle();
  bed.clock.advanceNs(1e6);
  const view = details(bed, bed[0], "qp", qp.number);
  assert.deepEqual([view.waitsFor, view.rnrRetriesLeft], ["RNR", 4]);
  assert.equal(view.waitsNs, 491_520_000 - 1e6);
  assert.deepEqual(view.send, { size: 64, head: 1, posted: 4 });
  assert.deepEqual(
    view.sends.map(({ index, opcode, flags }) => [index, opcode, ...flags]),
    [
      [1, "SEND", "signaled", "solicited"],
      [2, "ATOMIC_CS", "signaled"],
      [3, "SEND_IMM", "fence"],
      [4, "SEND", "signaled"],
    ],
  );
  const [send, atomic, inline, bad] = view.sends;
  const hex = (value: bigint | number): string => `0x${value.toString(16)}`;
  assert.deepEqual(
    send?.segments.map(({ address, length, problem }) => [address, length, problem]),
    [
      [hex(source.region.virtualAddress), 100, undefined],
      [hex(source.region.virtualAddress + 128n), 28, undefined],
    ],
  );
  assert.equal(atomic?.remote?.address, hex(target.region.virtualAddress + 8n));
  assert.deepEqual(atomic?.atomic, { swapAdd: "0x9", compare: "0x7" });
  assert.deepEqual([inline?.inlineBytes, inline?.immediate], [5, "0xabcd"]);
  assert.equal(bad?.segments[0]?.problem, "no such key");
  assert.deepEqual([view.peer?.hca, view.peer?.number, view.peer?.state], ["n2", peer.number, "RTS"]);
  assert.equal(view.peerProblem, undefined);
  assert.equal(view.context.remoteQpn, peer.number);
  assert.equal(view.primaryPath.rlid, bed[1].wire.lid);
  // Kept as the driver wrote it, also where the live value has moved on.
  assert.deepEqual([view.context.nextSendPsn, view.sendPsn], [0, 1]);
});

test("a datagram and its receive queue", () => {
  const bed = new TestBed(2);
  const sender = datagramQp(bed[0]);
  const receiver = datagramQp(bed[1]);
  const buffer = new Buffer64(bed[1], 256);
  receiver.postReceive([buffer.sge(0, 40), buffer.sge(64, 64)]);
  sender.writeSend({
    opcode: SendOpcode.SEND,
    inline: Uint8Array.of(1),
    address: { dlid: 2, sl: 3 },
    remoteQpn: 0x77,
    qkey: 0x1234,
  });
  sender.publishSends();
  const [wqe] = details(bed, bed[0], "qp", sender.number).sends;
  const { destQpn, qkey, dlid, sl } = wqe?.datagram ?? {};
  assert.deepEqual([destQpn, qkey, dlid, sl], [0x77, "0x1234", 2, 3]);
  const { receives, retriesLeft } = details(bed, bed[1], "qp", receiver.number);
  assert.deepEqual(
    receives.map(({ index, segments }) => [index, ...segments.map(({ length }) => length)]),
    [[0, 40, 64]],
  );
  assert.equal(retriesLeft, undefined);
});

test("why a connection does not work", () => {
  const bed = new TestBed(2);
  const problem = (qp: DriverQueuePair): string | undefined => details(bed, bed[0], "qp", qp.number).peerProblem;
  const [psn] = connect(bed[0], bed[1], Service.RC, { sendPsn: 9, receivePsn: 10 });
  assert.equal(problem(psn), "the peer expects PSN 10, not 9");
  const [gone, other] = connect(bed[0], bed[1]);
  other.reset();
  assert.match(problem(gone) ?? "", /there is no QP 0x[0-9a-f]+ at LID 2/);
  const [failed, itsPeer] = connect(bed[0], bed[1]);
  itsPeer.toError();
  assert.equal(problem(failed), "the peer is in ERR and takes no packets");
  const nobody = newQp(bed[0], Service.RC);
  nobody.init();
  assert.equal(problem(nobody), undefined);
  nobody.readyToReceive({ remoteQpn: 5, dlid: 99 });
  assert.equal(problem(nobody), "no HCA answers at LID 99");
  bed.wires[0]!.setState(1);
  assert.equal(problem(psn), "port 1 is not ACTIVE");
});

test("completion queues: who uses them, their latest entries, taken and not", () => {
  const bed = new TestBed(2);
  const [qp] = connect(bed[0], bed[1], Service.RC);
  const target = new Buffer64(bed[1], 64);
  for (let i = 0; i < 3; i++) {
    qp.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(i), ...target.remote() });
  }
  qp.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(1), remoteAddress: 0n, rkey: 1 });
  bed.domain.settle();
  bed[0].cq.poll(2);
  bed[0].cq.arm();
  bed.domain.settle();
  const cq = details(bed, bed[0], "cq", bed[0].cq.number);
  assert.deepEqual([cq.size, cq.producer, cq.consumer, cq.eq, cq.isBroken], [256, 4, 2, 1, false]);
  assert.deepEqual(cq.qps, [qp.number]);
  assert.deepEqual(
    cq.entries.map(({ index, opcode, syndrome, isTaken, qpn }) => [index, syndrome ?? opcode, isTaken, qpn]),
    [
      [0, "RDMA_WRITE", true, qp.number],
      [1, "RDMA_WRITE", true, qp.number],
      [2, "RDMA_WRITE", false, qp.number],
      [3, "REMOTE_ACCESS", false, qp.number],
    ],
  );
  bed[0].cq.region.deregister();
  const after = details(bed, bed[0], "cq", bed[0].cq.number);
  assert.ok(after.entries.length === 0 && after.problem === "not mapped");
});

for (const [name, link] of [
  ["out of the queue", 0x7fffffc1],
  ["between two slots", 0x41],
] as const)
  test(`a shared receive queue: along its links, and a link that leads ${name}`, () => {
    const bed = new TestBed(2);
    const { device, pd, node } = bed[1];
    const srq = new DriverSharedReceiveQueue(device, { pd, wqes: 15, sges: 4 });
    const [, qp] = connect(bed[0], bed[1], Service.RC, {}, {}, { srq });
    const buffer = new Buffer64(bed[1], 4096);
    const offsets = [16, 32, 48].map((length) => srq.postReceive([buffer.sge(0, length)]));
    srq.armLimit(2);
    const view = details(bed, bed[1], "srq", srq.number);
    assert.deepEqual([view.size, view.posted, view.taken, view.limit, view.isBroken], [16, 3, 0, 2, false]);
    assert.deepEqual(view.qps, [qp.number]);
    assert.deepEqual(
      view.receives.map(({ offset, segments }) => [offset, segments[0]?.length]),
      [
        [offsets[0], 16],
        [offsets[1], 32],
        [offsets[2], 48],
      ],
    );
    assert.equal(viewOf(bed, bed[1], qp).srq, srq.number);
    assert.equal(viewOf(bed, bed[1], qp).receive, undefined);
    // The first slot of the queue is where the first segment says 16 bytes: find it, and lead its link astray.
    const { view: memory } = node.access.memory;
    const key = Number(details(bed, bed[1], "srq", srq.number).lkey);
    const { dmaAddress } = details(bed, bed[1], "region", key).pages[0]!;
    memory.setUint32(Number(dmaAddress) - node.access.dmaBase + (offsets[0] ?? 0), link);
    const { receives } = details(bed, bed[1], "srq", srq.number);
    assert.deepEqual(
      receives.map(({ problem }) => problem),
      [undefined, "the link names no slot of this queue"],
    );
    assert.equal(details(bed, bed[1], "srq", srq.number).isBroken, false, "it is the engine that judges");
  });

test("regions: as the guest names them, where their pages lie, and pages that are gone", () => {
  const bed = new TestBed(1);
  const { device, node } = bed[0];
  const buffer = new Buffer64(bed[0], 3 * 4096, { virtualAddress: 0x7f00_0000_0800n, access: Access.REMOTE_READ });
  const listed = listAll(bed, bed[0], "regions").find((region) => Number(region.key) === buffer.region.lkey);
  assert.deepEqual(
    [listed?.start, listed?.length, listed?.pageBytes, listed?.access, listed?.pd],
    ["0x7f0000000800", 3 * 4096, 4096, ["LOCAL_READ", "REMOTE_READ"], bed[0].pd],
  );
  const { block } = buffer.region;
  const before = details(bed, bed[0], "region", buffer.region.rkey);
  assert.deepEqual(
    before.pages.slice(0, 3).map(({ dmaAddress, problem }) => [Number(dmaAddress), problem]),
    [0, 1, 2].map((page) => [block.dmaAddress + page * 4096, undefined]),
  );
  // The region starts in the middle of a page.
  assert.deepEqual(
    before.pages.map(({ offset }) => offset),
    [0, 2048, 6144, 10240],
  );
  node.dma.unmapAll();
  const after = details(bed, bed[0], "region", buffer.region.rkey);
  assert.ok(after.pages.every(({ problem }) => problem === "not mapped"));
  assert.throws(() => details(bed, bed[0], "region", 0x99_000099), /n1 has no region with key 0x99000099; there are \d+: 0x/);
  assert.ok(device.uar > 0);
});

test("multicast groups with their members", () => {
  const bed = new TestBed(1);
  bed[0].device.commands.run(Command.WRITE_MGM, {
    modifier: 5,
    input: (view, at) => {
      Mgm.mgid.set(view, at, Uint8Array.of(0xff, 0x12, ...new Array<number>(13).fill(0), 0x99));
      view.setUint32(at + MGM_QPS_AT, (MGM_QP_VALID | 0x404) >>> 0);
      view.setUint32(at + MGM_QPS_AT + 4, (MGM_QP_VALID | 0x405) >>> 0);
    },
  });
  bed[0].device.commands.run(Command.WRITE_MGM, { modifier: 9, input: () => {} });
  assert.deepEqual(listAll(bed, bed[0], "groups"), [
    { index: 5, mgid: "ff12:0000:0000:0000:0000:0000:0000:0099", qps: [0x404, 0x405] },
  ]);
});

test("objects spread over a large table are all found, a page at a time", () => {
  const bed = new TestBed(1);
  const { device } = bed[0];
  const numbers = Array.from({ length: 200 }, (_, i) => 200 + i * 17);
  for (const number of numbers) {
    device.commands.run(Command.SW2HW_CQ, {
      modifier: number,
      input: (view, at) => CqContext.usrPage.set(view, at, device.uar),
    });
  }
  const found = listAll(bed, bed[0], "cqs").map(({ number }) => number);
  assert.deepEqual(found, [bed[0].cq.number, ...numbers]);
  const { count, items, next } = inspectList(bed[0].node.hca, "cqs", 0, 16, optionsOf(bed));
  assert.deepEqual([count, items.length], [201, 16]);
  assert.ok(next !== undefined);
});

/** Everything that can be asked of an HCA. */
function inspectAll(bed: TestBed, guest: Guest): unknown[] {
  const { hca } = guest.node;
  const lists = Object.fromEntries(KINDS.map((kind) => [kind, listAll(bed, guest, kind)]));
  return [
    inspectDevice(hca),
    lists,
    ...listAll(bed, guest, "qps").map(({ number }) => details(bed, guest, "qp", number)),
    ...listAll(bed, guest, "cqs").map(({ number }) => details(bed, guest, "cq", number)),
    ...listAll(bed, guest, "srqs").map(({ number }) => details(bed, guest, "srq", number)),
    ...listAll(bed, guest, "regions").map(({ key }) => details(bed, guest, "region", Number(key))),
  ];
}

test("looking changes nothing: memory, counters, and what the engine has yet to judge", () => {
  const bed = new TestBed(2);
  const [qp, peer] = connect(bed[0], bed[1]);
  const buffer = new Buffer64(bed[0], 64);
  qp.postSend({ opcode: SendOpcode.SEND, sges: [buffer.sge()] });
  bed.domain.settle();
  // Counts that cannot be: the engine would take both queue pairs to ERR.
  qp.sendPosted = 5000;
  qp.publishSends();
  bed[1].node.access.memory.view.setUint32(peer.rqRecord.at, 5000);
  const snapshot = (): unknown[] =>
    bed.guests.map(({ node }) => [Buffer.from(node.access.memory.bytes), [...node.hca.adapter.counters]]);
  const before = snapshot();
  const first = JSON.stringify(bed.guests.map((guest) => inspectAll(bed, guest)));
  assert.equal(JSON.stringify(bed.guests.map((guest) => inspectAll(bed, guest))), first);
  assert.deepEqual(snapshot(), before);
  assert.deepEqual([viewOf(bed, bed[0], qp).state, viewOf(bed, bed[1], peer).state], ["RTS", "RTS"]);
  assert.equal(viewOf(bed, bed[0], qp).send.posted, 5000);
  assert.ok(details(bed, bed[0], "qp", qp.number).sends.length <= 8);
});

test("a ring that starts anywhere: entries that straddle the end of memory are not mapped", () => {
  const bed = new TestBed(1, { memoryBytes: 4 << 20 });
  const { device, node, pd } = bed[0];
  const end = node.access.dmaBase + (4 << 20);
  const key = 3000;
  device.commands.run(Command.SW2HW_MPT, {
    modifier: key,
    input: (view, at) => {
      view.setUint32(at, Access.LOCAL_READ);
      Mpt.region.set(view, at, 1);
      Mpt.physical.set(view, at, 1);
      Mpt.key.set(view, at, key);
      Mpt.pd.set(view, at, pd);
      Mpt.length.lo.set(view, at, 0x7fffffff);
    },
  });
  const qp = newQp(bed[0], Service.RC);
  qp.transition(Command.RST2INIT_QP, QpState.INIT, 0, (view, at) => {
    QpContext.wqeLkey.set(view, at, (key << 8) >>> 0);
    QpContext.logSqSize.set(view, at, 0);
    QpContext.sqBase.set(view, at, end - 16);
    QpContext.sendCqn.set(view, at, bed[0].cq.number);
    QpContext.receiveCqn.set(view, at, bed[0].cq.number);
    view.setUint32(at + 0x20, 1 << 24);
  });
  node.access.memory.view.setUint32((4 << 20) - 12, 4);
  qp.sendPosted = 1;
  qp.publishSends();
  const [wqe] = details(bed, bed[0], "qp", qp.number).sends;
  assert.deepEqual([wqe?.sizeBytes, wqe?.problem], [64, "not mapped"]);
});

/** A command with random bytes in its mailbox; what the device refuses is refused. */
function tryCommand(guest: Guest, opcode: number, modifier: number, bytes: Uint8Array): void {
  try {
    guest.device.commands.run(opcode, {
      modifier,
      input: (view, at) => {
        for (const [i, byte] of bytes.entries()) view.setUint8(at + i, byte);
      },
    });
  } catch (error) {
    if (!(error instanceof DriverError)) throw error;
  }
}

const HOSTILE: readonly number[] = [
  Command.SW2HW_MPT,
  Command.SW2HW_CQ,
  Command.SW2HW_SRQ,
  Command.RST2INIT_QP,
  Command.RST2INIT_QP,
  Command.INIT2RTR_QP,
  Command.WRITE_MGM,
  Command.RESIZE_CQ,
];

test("hostile contexts and memory: every answer is given, and survives JSON", () => {
  const command = fc.record({
    opcode: fc.constantFrom(...HOSTILE),
    modifier: fc.nat(63),
    bytes: fc.uint8Array({ minLength: 272, maxLength: 272 }),
    isPlausible: fc.boolean(),
  });
  let hostileQps = 0;
  const scribble = fc.record({ at: fc.nat((4 << 20) - 4), word: fc.integer() });
  const property = fc.property(
    fc.array(command, { minLength: 15, maxLength: 40 }),
    fc.array(scribble, { maxLength: 50 }),
    (all, words) => {
      const bed = new TestBed(1, { memoryBytes: 4 << 20 });
      const [guest] = bed.guests as [Guest];
      const { device, node } = guest;
      const cq = new DriverCompletionQueue(device, 15, guest.pd);
      const srq = new DriverSharedReceiveQueue(device, { pd: guest.pd, wqes: 15, sges: 2 });
      datagramQp(guest, 1, { srq });
      device.commands.useEvents(false);
      for (const { opcode, modifier, bytes, isPlausible } of all) {
        if (isPlausible) makePlausible(opcode, modifier, bytes, guest, cq.number);
        tryCommand(guest, opcode, opcode === Command.RESIZE_CQ ? cq.number : modifier + 1024, bytes);
      }
      for (const { at, word } of words) node.access.memory.view.setInt32(at, word);
      // Doorbell records that promise work, so that rings are looked into.
      for (let at = 0; at < 4 << 20; at += 4096) node.access.memory.view.setUint32(at + 4088, 0x0000fff0);
      assert.doesNotThrow(() => JSON.parse(JSON.stringify(inspectAll(bed, guest))));
      hostileQps += node.hca.adapter.qps.count - 1;
      node.dma.unmapAll();
      assert.doesNotThrow(() => JSON.parse(JSON.stringify(inspectAll(bed, guest))));
    },
  );
  fc.assert(property, { seed: SEED, numRuns: 60, interruptAfterTimeLimit: 8000 });
  assert.ok(hostileQps > 50, "contexts of random bytes were among them");
});

/** Enough of the fields that the device checks, so that the rest gets through. */
function makePlausible(opcode: number, modifier: number, bytes: Uint8Array, guest: Guest, cqn: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { uar } = guest.device;
  if (opcode === Command.SW2HW_MPT) {
    Mpt.region.set(view, 0, 1);
    Mpt.key.set(view, 0, modifier + 1024);
    Mpt.pd.set(view, 0, guest.pd);
  } else if (opcode === Command.SW2HW_CQ) {
    CqContext.usrPage.set(view, 0, uar);
    CqContext.logSize.set(view, 0, modifier % 18);
    CqContext.completionEqn.set(view, 0, 1);
  } else if (opcode === Command.SW2HW_SRQ) {
    view.setUint32(0x0c, ((view.getUint32(0x0c) & 0xff000000) | uar) >>> 0);
  } else if (opcode === Command.RST2INIT_QP) {
    QpContext.service.set(view, QP_CONTEXT_AT, [Service.RC, Service.UC, Service.UD][modifier % 3] ?? 0);
    QpContext.usrPage.set(view, QP_CONTEXT_AT, uar);
    QpContext.sendCqn.set(view, QP_CONTEXT_AT, cqn);
    QpContext.receiveCqn.set(view, QP_CONTEXT_AT, cqn);
    QpContext.srqAttached.set(view, QP_CONTEXT_AT, 0);
    QpContext.wqeLkey.set(view, QP_CONTEXT_AT, (modifier + 1024) << 8);
    view.setUint32(QP_CONTEXT_AT + 0x20, (1 << 24) | 3);
  }
}

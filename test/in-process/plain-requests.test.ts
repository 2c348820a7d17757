// Plain requests take a way of their own (src/transport/plain-request.ts) once a connection has carried its first message, which takes
// the general one. Whatever is posted must come out the same on both.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import type { SendRequest, Sge } from "../../src/driver/queue-pair.ts";
import { Access, MTT_BYTES, MTT_PRESENT } from "../../src/spec/hca/contexts.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { ALL_ACCESS, Buffer64, connect, fill, type Guest, TestBed, usesPackets } from "./pair.ts";

const BYTES = 5 * 4096;
const LENGTHS = [0, 1, 8, 12, 13, 64, 65, 255, 2048, 2049, 4096, 4097, BYTES];
const OFFSETS = [0, 1, 8, 4088, 4095, 4096, 8191];
const ACCESSES = [ALL_ACCESS, ALL_ACCESS, ALL_ACCESS, Access.LOCAL_READ, Access.LOCAL_READ | Access.LOCAL_WRITE];
const CASES = 150;
const INLINE_BYTES = 100;

/** Everything that one request and what it meets are made of, drawn from a seed. */
function drawCase(random: Random) {
  const pick = <T>(values: readonly T[]): T => values[random.below(values.length)] as T;
  const isRare = (): boolean => random.below(12) === 0;
  const length = pick(LENGTHS);
  return {
    opcode: pick([SendOpcode.SEND, SendOpcode.RDMA_WRITE, SendOpcode.RDMA_WRITE, SendOpcode.SEND_IMM]),
    isInline: length <= INLINE_BYTES && random.below(2) === 0,
    length,
    from: pick(OFFSETS),
    to: pick(OFFSETS),
    pieces: pick([1, 1, 1, 2]),
    receive: isRare() ? "none" : pick(["whole", "whole", "halves", "bad half"]),
    room: pick([4, BYTES, BYTES, BYTES + 1]),
    isSignaled: random.below(4) > 0,
    isSolicited: random.below(2) === 0,
    hasBadLkey: isRare(),
    hasBadRkey: isRare(),
    localAccess: pick(ACCESSES),
    remoteAccess: pick(ACCESSES),
    hasForeignPd: isRare(),
    mtuCode: pick([1, 3, 4]),
    logMaxMessage: pick([5, 31, 31, 31]),
    allowsRemoteWrite: !isRare(),
  };
}

type Case = ReturnType<typeof drawCase>;

/** At most as many bytes of a buffer as it has from there on, but one more now and then: the bounds must hold. */
const within = (buffer: Buffer64, at: number, length: number): Sge => buffer.sge(at, Math.min(length, BYTES - at + (length & 1)));

function requestOf(of: Case, source: Buffer64, target: Buffer64): SendRequest {
  const whole = within(source, of.from, of.length);
  const cut = of.pieces === 2 ? whole.length >> 1 : 0;
  const rest = { ...whole, address: whole.address + BigInt(cut), length: whole.length - cut };
  const sges = (cut > 0 ? [{ ...whole, length: cut }, rest] : [rest]).map((sge) =>
    of.hasBadLkey ? { ...sge, lkey: 0x77 } : sge,
  );
  const { remoteAddress, rkey } = target.remote(of.to);
  const isWrite = of.opcode === SendOpcode.RDMA_WRITE;
  return {
    opcode: of.opcode,
    ...(of.isInline ? { inline: Uint8Array.from({ length: of.length }, (_, i) => i * 7) } : { sges }),
    ...(isWrite ? { remoteAddress, rkey: of.hasBadRkey ? 0x77 : rkey } : {}),
    isSignaled: of.isSignaled,
    isSolicited: of.isSolicited,
    immediate: 0x1234,
  };
}

const countersOf = (guest: Guest): number[] => [...guest.node.hca.adapter.counters, ...guest.wire.counters];

/** What a guest sees of the request, and what changes in the HCAs. */
function outcomeOf(of: Case, isWarm: boolean) {
  const bed = new TestBed(2, { memoryBytes: 4 << 20 });
  const [a, b] = [bed[0], bed[1]];
  const connection = { mtuCode: of.mtuCode, logMaxMessage: of.logMaxMessage, rnrRetry: 7 };
  const queues = { inlineBytes: INLINE_BYTES, sges: 2, receiveSges: 2 };
  const [qpA, qpB] = connect(a, b, Service.RC, connection, queues, queues, { allowsRemoteWrite: of.allowsRemoteWrite });
  const source = new Buffer64(a, BYTES, { access: of.localAccess });
  const pd = of.hasForeignPd ? b.device.allocatePd() : b.pd;
  const target = new Buffer64(b, BYTES, { access: of.remoteAccess, pd });
  const scratch = new Buffer64(b, 64);
  fill(source.bytes, 1);
  const whole = within(target, of.to, of.room);
  const half = Math.min(64, whole.length >> 1);
  const second = { ...whole, address: whole.address + BigInt(half), length: whole.length - half };
  const halves = [{ ...whole, length: half }, of.receive === "halves" ? second : { ...second, lkey: 0x77 }];
  for (const guest of [a, b]) guest.cq.arm(true);
  bed.domain.settle();
  if (isWarm) {
    qpB.postReceive([scratch.sge()]);
    qpA.postSend({ opcode: SendOpcode.SEND, inline: Uint8Array.of(1, 2, 3) });
    bed.domain.settle();
    for (const guest of [a, b]) guest.cq.poll();
  }
  const before = [a, b].map(countersOf);
  const psns = (): number[] => {
    const [near, far] = [a.node.hca.adapter.qps.find(qpA.number), b.node.hca.adapter.qps.find(qpB.number)];
    const psn = near?.nextPsn ?? 0;
    return [psn, (far?.expectedPsn ?? 0) - psn, far?.messageCount ?? 0, near?.state ?? -1, far?.state ?? -1, far?.rqHead ?? 0];
  };
  const psnsBefore = psns();
  const receive = of.receive === "none" ? undefined : qpB.postReceive(of.receive === "whole" ? [whole] : halves);
  const send = qpA.postSend(requestOf(of, source, target));
  bed.domain.settle();
  const seen = [a, b].map((guest) =>
    guest.cq.poll().map((c) => ({ ...c, wqe: c.wqe === (c.isSend ? send : receive), qpn: c.isSend })),
  );
  const counters = [a, b].map((guest, i) => countersOf(guest).map((value, slot) => value - (before[i]?.[slot] ?? 0)));
  const after = psns();
  return {
    seen,
    counters,
    psns: after.map((value, i) => (i === 3 || i === 4 ? value : value - (psnsBefore[i] ?? 0))),
    bytes: createHash("sha256").update(target.bytes).digest("hex"),
    events: [a, b].map((guest) => guest.device.asyncEvents.map(({ type }) => type)),
  };
}

test("a request fares the same on a warm connection as on a fresh one", () => {
  const random = new Random(20);
  let good = 0;
  for (let i = 0; i < CASES; i++) {
    const of = drawCase(random);
    const cold = outcomeOf(of, false);
    assert.deepEqual(outcomeOf(of, true), cold, JSON.stringify(of));
    if (cold.psns[0] !== 0) good++;
  }
  assert.ok(good > CASES / 5 && good < CASES, `${good} of ${CASES} are good`);
});

/** Swaps the pages that stand behind two pages of a buffer, in its translation table. */
function swapPages({ device }: Guest, { region }: Buffer64, i: number, j: number): void {
  const { view } = device.access.memory;
  const [one, other] = [i, j].map((page) => device.icm.mttAt(region.mttAddress + page * MTT_BYTES)) as [number, number];
  const kept = view.getBigUint64(one);
  view.setBigUint64(one, view.getBigUint64(other));
  view.setBigUint64(other, kept);
}

for (const end of ["source", "target"] as const) {
  test(`pages in any order, one of them missing at the ${end}`, () => {
    const bed = new TestBed(2);
    const [a, b] = [bed[0], bed[1]];
    const [qp] = connect(a, b);
    const source = new Buffer64(a, BYTES);
    const target = new Buffer64(b, BYTES);
    fill(source.bytes, 1);
    const expected = Buffer.from(source.bytes);
    swapPages(a, source, 1, 3);
    swapPages(b, target, 2, 4);
    const write = (): number | undefined => {
      qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge()], ...target.remote() });
      bed.domain.settle();
      return a.cq.poll()[0]?.syndrome;
    };
    const sourceOrder = [0, 3, 2, 1, 4];
    const targetOrder = [0, 1, 4, 3, 2];
    const page = (bytes: Uint8Array, index = 0): Uint8Array => bytes.subarray(index * 4096, (index + 1) * 4096);
    for (const round of ["cold", "warm"]) {
      target.bytes.fill(0);
      assert.equal(write(), 0, round);
      for (const [i, to] of targetOrder.entries())
        assert.deepEqual(page(target.bytes, to), page(expected, sourceOrder[i]), `${round}, page ${i}`);
    }
    target.bytes.fill(0);
    const [guest, buffer] = end === "source" ? ([a, source] as const) : ([b, target] as const);
    const entry = guest.device.icm.mttAt(buffer.region.mttAddress + 3 * MTT_BYTES);
    const { view } = guest.device.access.memory;
    view.setUint32(entry + 4, view.getUint32(entry + 4) & ~MTT_PRESENT);
    assert.equal(write(), end === "source" ? Syndrome.LOCAL_PROTECTION : Syndrome.REMOTE_ACCESS);
    assert.ok(page(target.bytes, targetOrder[3]).every((byte) => byte === 0));
  });
}

const LONG_BYTES = 6 * 4096;
const LONG_REQUESTS = 9;
const LONG_RUNS = 40;

/** A run of long and short requests, one of them wrong now and then. */
function drawRun(random: Random) {
  const wrong = random.below(2 * LONG_REQUESTS);
  return {
    receives: LONG_REQUESTS - (random.below(4) === 0 ? random.below(LONG_REQUESTS) : 0),
    requests: Array.from({ length: LONG_REQUESTS }, (_, i) => ({
      isSend: random.below(2) === 0,
      length: random.below(4) === 0 ? 1 + random.below(64) : LONG_BYTES - random.below(4096),
      isSignaled: random.below(3) > 0,
      wrong: i === wrong ? (["lkey", "rkey", "source page", "target page"] as const)[random.below(4)] : undefined,
    })),
  };
}

/** What comes of a run that is posted all at once, or one request at a time. */
function outcomeOfRun({ requests, receives }: ReturnType<typeof drawRun>, isAtOnce: boolean) {
  const bed = new TestBed(2, { memoryBytes: 4 << 20 });
  const [a, b] = [bed[0], bed[1]];
  const [qpA, qpB] = connect(a, b, Service.RC, { rnrRetry: 0 });
  const sources = requests.map(() => new Buffer64(a, LONG_BYTES));
  const targets = requests.map(() => new Buffer64(b, LONG_BYTES));
  const hide = ({ device }: Guest, { region }: Buffer64): void => {
    const { view } = device.access.memory;
    const at = device.icm.mttAt(region.mttAddress + 3 * MTT_BYTES) + 4;
    view.setUint32(at, view.getUint32(at) & ~MTT_PRESENT);
  };
  for (const [i, { bytes }] of sources.entries()) fill(bytes, i + 1);
  for (const { bytes } of targets) bytes.fill(0);
  qpA.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(1), ...(targets[0] as Buffer64).remote() });
  bed.domain.settle();
  a.cq.poll();
  // Receives are taken in order, by the sends alone.
  const forSends = targets.filter((_, i) => requests[i]?.isSend);
  for (const target of forSends.slice(0, receives)) qpB.postReceive([target.sge()]);
  const sends = requests.map(({ isSend, length, isSignaled, wrong }, i) => {
    const [source, target] = [sources[i] as Buffer64, targets[i] as Buffer64];
    if (wrong === "source page") hide(a, source);
    if (wrong === "target page") hide(b, target);
    const sge = source.sge(0, length);
    const sges = [wrong === "lkey" ? { ...sge, lkey: 0x77 } : sge];
    const remote = { ...target.remote(), ...(wrong === "rkey" ? { rkey: 0x77 } : {}) };
    const send = qpA.postSend({
      opcode: isSend ? SendOpcode.SEND : SendOpcode.RDMA_WRITE,
      sges,
      isSignaled,
      ...(isSend ? {} : remote),
    });
    if (!isAtOnce) bed.domain.settle();
    return send;
  });
  bed.domain.settle();
  return {
    seen: [a, b].map((guest) => guest.cq.poll().map((c) => ({ ...c, wqe: c.isSend ? sends.indexOf(c.wqe) : c.wqe }))),
    bytes: targets.map(({ bytes }) => createHash("sha256").update(bytes).digest("hex")),
    psns: [qpA, qpB].map(({ number }, i) => {
      const qp = [a, b][i]?.node.hca.adapter.qps.find(number);
      return [qp?.state, qp?.nextPsn, qp?.expectedPsn, qp?.messageCount, qp?.rqHead];
    }),
    counters: [a, b].map((guest) => [...guest.wire.counters]),
  };
}

test("long requests fare the same one behind the other as one at a time", { skip: usesPackets }, () => {
  const random = new Random(21);
  let good = 0;
  for (let i = 0; i < LONG_RUNS; i++) {
    const run = drawRun(random);
    const one = outcomeOfRun(run, false);
    assert.deepEqual(outcomeOfRun(run, true), one, JSON.stringify(run));
    if (one.seen[0]?.every(({ syndrome }) => syndrome === 0)) good++;
  }
  assert.ok(good > LONG_RUNS / 8 && good < LONG_RUNS, `${good} of ${LONG_RUNS} are good`);
});

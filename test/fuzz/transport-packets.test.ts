// Any bytes as packets of the connected and datagram services: real ones with bits changed, cut, lengthened, replayed, and plain noise, while
// several queue pairs talk. Nothing throws, no sweep does more than its share, memory that no region opens is untouched, and
// queue pairs whose packets nobody touches are as if alone.

import assert from "node:assert/strict";
import type { Random } from "../../src/base/random.ts";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { Access } from "../../src/spec/hca/contexts.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Bth, ICRC_BYTES, Lrh } from "../../src/spec/ib/headers.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { FaultyLink } from "../in-process/faulty-link.ts";
import { Buffer64, connect, datagramQp, fill, TestBed } from "../in-process/pair.ts";
import { fuzz } from "./kit.ts";

const { SEND, SEND_IMM, RDMA_WRITE, RDMA_WRITE_IMM, RDMA_READ, ATOMIC_CS, ATOMIC_FA } = SendOpcode;
const OPCODES = [SEND, SEND_IMM, RDMA_WRITE, RDMA_WRITE_IMM, RDMA_READ, ATOMIC_CS, ATOMIC_FA];
const BTH_AT = Lrh.byteLength;
const ROUNDS = 40;
const STEPS_PER_ROUND = 6;
const MESSAGE_MAX = 4000;
const KEPT = 32;
/** A slice or a turn of packets for each of two HCAs in each direction, and what comes in. */
const WORK_MAX = 8 * 128 * 1024;

const qpnOf = (packet: Uint8Array): number => (packet.length < BTH_AT + 8 ? -1 : Bth.destQp.get(viewOf(packet), BTH_AT));
const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/** Changes a packet, or makes one up. */
function mutate(random: Random, packet: Uint8Array): Uint8Array {
  const copy = new Uint8Array(packet);
  const kind = random.below(6);
  if (kind === 0) return Uint8Array.from({ length: random.below(300) }, () => random.below(256));
  if (kind === 1) return copy.subarray(0, random.below(copy.length + 1));
  if (kind === 2) return Uint8Array.from([...copy, ...Array.from({ length: random.below(64) }, () => random.below(256))]);
  const changes = 1 + random.below(4);
  // Mostly in the headers; the LRH's length is mended, or hardly anything would get past it.
  for (let i = 0; i < changes; i++) {
    const at = random.below(Math.min(copy.length, random.chance(0.8) ? 64 : 5000));
    copy[at] = random.chance(0.5) ? random.below(256) : copy[at]! ^ (1 << random.below(8));
  }
  if (copy.length >= 8 && random.chance(0.9)) Lrh.packetLength.set(viewOf(copy), 0, (copy.length + ICRC_BYTES) >>> 2);
  return copy;
}

fuzz("packets/transport", (random, budget) => {
  const bed = new TestBed(2, { memoryBytes: 8 << 20 });
  const link = new FaultyLink(bed, random, { loss: 0.01, duplicate: 0.05, reorder: 0.05 });
  const [near, far] = [new Buffer64(bed[0], 65536), new Buffer64(bed[1], 65536)];
  // Registered, but with no right for anybody else.
  const secret = new Buffer64(bed[1], 4096, { access: Access.LOCAL_READ });
  fill(secret.bytes, 5);
  const before = Buffer.from(secret.bytes);
  const [honestA, honestB] = connect(bed[0], bed[1], Service.RC, { retryCount: 7, rnrRetry: 7, ackTimeout: 8 });
  const honest = { source: new Buffer64(bed[0], 3000), target: new Buffer64(bed[1], 3000) };
  const victims: [DriverQueuePair, DriverQueuePair][] = [Service.RC, Service.RC, Service.UC].map((service) =>
    connect(bed[0], bed[1], service, { retryCount: 2, rnrRetry: 2, ackTimeout: 8, minRnrTimer: 1, mtuCode: 1 + random.below(4) }),
  );
  const datagrams = [datagramQp(bed[0]), datagramQp(bed[1])] as const;
  const untouched = new Set([honestA.number, honestB.number]);
  const kept: Uint8Array[] = [];
  link.filter = (bytes) => {
    if (untouched.has(qpnOf(bytes))) return true;
    if (kept.length < KEPT) kept.push(bytes);
    else kept[random.below(KEPT)] = bytes;
    if (random.chance(0.2)) link.inject(notFor(untouched, mutate(random, bytes)));
    return random.chance(0.9);
  };
  for (let round = 0; round < ROUNDS; round++) {
    for (const [a, b] of victims) {
      const length = random.below(MESSAGE_MAX);
      const opcode = random.pick(OPCODES);
      if (random.chance(0.6)) b.postReceive([far.sge(random.below(1000), random.below(8000))]);
      const isAtomic = opcode === ATOMIC_CS || opcode === ATOMIC_FA;
      a.postSend({
        opcode,
        sges: [near.sge(0, isAtomic ? 8 : length)],
        ...far.remote(random.below(64) * 8),
        isSignaled: random.chance(0.5),
      });
    }
    datagrams[1].postReceive([far.sge(0, 2100)]);
    const address = { dlid: bed[1].wire.lid };
    const datagram = { remoteQpn: datagrams[1].number, qkey: 0x1234, address };
    datagrams[0].postSend({ opcode: SEND, sges: [near.sge(0, random.below(2000))], ...datagram });
    for (let i = random.below(6); i > 0 && kept.length > 0; i--)
      link.inject(notFor(untouched, mutate(random, random.pick(kept))));
    if (random.chance(0.2) && kept.length > 0) link.inject(random.pick(kept));
    fill(honest.source.bytes, round);
    honestA.postSend({ opcode: RDMA_WRITE, sges: [honest.source.sge()], ...honest.target.remote() });
    for (let i = 0; i < STEPS_PER_ROUND || !honest.target.bytes.equals(honest.source.bytes); i++) {
      budget.step();
      const work = bed.domain.step();
      assert.ok(work <= WORK_MAX, `a sweep did ${work} bytes of work`);
      link.step();
      bed.clock.advanceNs(50_000);
    }
    for (const { syndrome, opcode } of [...bed[0].cq.poll(), ...bed[1].cq.poll()]) budget.note(`${syndrome} ${opcode}`);
  }
  assert.ok(secret.bytes.equals(before), "memory without remote rights is untouched");
});

/** The packet, unless it is one for a queue pair that is to be left alone. */
function notFor(untouched: ReadonlySet<number>, packet: Uint8Array): Uint8Array {
  return untouched.has(qpnOf(packet)) || hasGrh(packet) ? packet.subarray(0, Math.min(8, packet.length)) : packet;
}

/** A GRH moves the BTH: where it points to is not worth finding out. */
const hasGrh = (packet: Uint8Array): boolean => packet.length >= 2 && (packet[1]! & 3) === 3;

// Captures of a running domain, of one engine and of two: the file holds each packet once for each port and direction, whole, with the right
// CRCs, in order, and with the contents that were sent.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ERF_BYTES } from "../../src/base/erf.ts";
import { silentLog } from "../../src/base/log.ts";
import { BlockSplitter, decodeBlock, type PcapngBlock } from "../../src/base/pcapng-reader.ts";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import { OpcodeTransport, Operation } from "../../src/spec/ib/bth-opcode.ts";
import { Bth, Lrh } from "../../src/spec/ib/headers.ts";
import { CRC_BYTES, writeCrcs } from "../../src/transport/packets/crc.ts";
import { ALL_ACCESS, type Context, connectQp, openDevice } from "../../src/verbs/index.ts";

type Packet = Extract<PcapngBlock, { kind: "packet" }>;
const MTU = 2048;
const LENGTH = 5 * MTU + 100;

async function collect(chunks: AsyncIterable<Buffer>): Promise<PcapngBlock[]> {
  const splitter = new BlockSplitter();
  const blocks: PcapngBlock[] = [];
  for await (const chunk of chunks) blocks.push(...splitter.push(chunk).map(decodeBlock));
  assert.equal(splitter.isInBlock, false);
  return blocks;
}

function end(context: Context) {
  const pd = context.allocPd();
  const cq = context.createCq(64);
  const memory = context.allocMemory(LENGTH);
  const mr = pd.regMr(memory, ALL_ACCESS);
  const { addr, lkey, rkey } = mr;
  const qp = pd.createQp({ qpType: "RC", sendCq: cq, recvCq: cq });
  const destroy = (): void => {
    for (const object of [qp, mr, memory, cq, pd]) object.destroy();
  };
  return { qp, destroy, addr, lkey, rkey, bytes: memory.bytes, lid: context.queryPort().lid };
}

/** A queue pair on each of two HCAs, connected. */
async function connectedEnds(socketPaths: readonly string[]) {
  const contexts: Context[] = [];
  for (const path of socketPaths) {
    const context = await openDevice(path, { memoryBytes: 8 << 20 });
    await context.portActive();
    contexts.push(context);
  }
  const [near, far] = contexts.map(end);
  assert.ok(near !== undefined && far !== undefined);
  connectQp(near.qp, { lid: far.lid, qpNum: far.qp.qpNum });
  connectQp(far.qp, { lid: near.lid, qpNum: near.qp.qpNum });
  return { contexts, near, far };
}

/** The packet in its ERF record, whose lengths must be right. */
function withoutErf(packet: Packet): Packet {
  const bytes = packet.bytes.subarray(ERF_BYTES);
  assert.deepEqual([packet.bytes.readUInt16BE(10), packet.bytes.readUInt16BE(14)], [packet.bytes.length, bytes.length]);
  return { ...packet, bytes, originalLength: packet.originalLength - ERF_BYTES };
}

/** Lengths and CRCs are right. */
function checkPacket({ bytes, originalLength }: Packet): void {
  assert.equal(originalLength, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  assert.equal(Lrh.packetLength.get(view, 0) * 4, bytes.length - 2);
  const again = Buffer.from(bytes);
  writeCrcs(again, 0, again.length - CRC_BYTES);
  assert.ok(again.equals(bytes));
}

const virtualLane = ({ bytes }: Packet): number => bytes[0]! >> 4;

for (const engines of [1, 2]) {
  test(`a capture of a domain with ${engines} engine(s)`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "vhca-capture-"));
    const domain = new DomainHandle({ log: silentLog, engines });
    t.after(async () => {
      await domain.stop();
      rmSync(folder, { recursive: true, force: true });
    });
    const names = ["h1", "h2"];
    for (const name of names) await domain.addHca({ name, socketPath: join(folder, name) });
    await assert.rejects(domain.startCapture(["h9"], "vhca test"), /no HCA named h9; there are: h1, h2/);
    const capture = await domain.startCapture([], "vhca test");
    await assert.rejects(domain.startCapture([], "vhca test"), /runs already/);
    const collected = collect(capture.chunks());
    const { contexts, near, far } = await connectedEnds(names.map((name) => join(folder, name)));
    near.bytes.forEach((_, i) => {
      near.bytes[i] = i * 7 + (i >> 8);
    });
    const sgList = [{ addr: near.addr, length: LENGTH, lkey: near.lkey }];
    const write = async (): Promise<void> =>
      void (await near.qp.send({ opcode: "RDMA_WRITE", sgList, remoteAddr: far.addr, rkey: far.rkey }));
    await write();
    await domain.stopCapture();
    const blocks = await collected;
    await write();
    const wanted = Buffer.from(near.bytes);
    for (const each of [near, far]) each.destroy();
    for (const context of contexts) context.close();

    assert.deepEqual(
      blocks.slice(0, 3).map((block) => ("name" in block ? block.name : block.kind)),
      ["section", "h1", "h2"],
    );
    const packets = blocks.filter((block) => block.kind === "packet").map(withoutErf);
    packets.forEach(checkPacket);
    assert.deepEqual(
      blocks.filter((block) => block.kind === "statistics").map(({ dropped }) => dropped),
      [0, 0],
    );
    assert.ok(
      packets.some((packet) => virtualLane(packet) === 15),
      "management",
    );
    for (const [id, flags] of [
      [0, 2],
      [1, 1],
    ]) {
      const own = packets.filter((packet) => packet.interface === id && packet.flags === flags && virtualLane(packet) !== 15);
      const view = ({ bytes }: Packet): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const writes = own.filter((packet) => {
        const opcode = Bth.opcode.get(view(packet), 8);
        return opcode >> 5 === OpcodeTransport.RC && opcode >= Operation.WRITE_FIRST && opcode <= Operation.WRITE_ONLY;
      });
      const psns = writes.map((packet) => Bth.psn.get(view(packet), 8));
      assert.deepEqual(
        psns,
        Array.from({ length: 6 }, (_, i) => (psns[0]! + i) & 0xffffff),
      );
      const payload = Buffer.concat(writes.map(({ bytes }, i) => bytes.subarray(20 + (i === 0 ? 16 : 0), -CRC_BYTES)));
      assert.ok(payload.equals(wanted), "contents");
    }
    for (let i = 1; i < packets.length; i++) if (engines === 1) assert.ok(packets[i]!.timeNs >= packets[i - 1]!.timeNs);
  });
}

test("what finds no room is counted, the fabric goes on; what is in the file is whole and in order", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-capture-"));
  const domain = new DomainHandle({ log: silentLog });
  t.after(async () => {
    await domain.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const names = ["h1", "h2"];
  for (const name of names) await domain.addHca({ name, socketPath: join(folder, name) });
  const { contexts, near, far } = await connectedEnds(names.map((name) => join(folder, name)));
  const capture = await domain.startCapture([], "vhca test");
  // Nobody writes anything down: each message is six packets at both ports, 24 KB, and there is room for 64 MB.
  const sgList = [{ addr: near.addr, length: LENGTH, lkey: near.lkey }];
  const write = (): Promise<unknown> => near.qp.send({ opcode: "RDMA_WRITE", sgList, remoteAddr: far.addr, rkey: far.rkey });
  for (let i = 0; i < 200; i++) await Promise.all(Array.from({ length: 20 }, write));
  await domain.stopCapture();
  const blocks = await collect(capture.chunks());
  for (const each of [near, far]) each.destroy();
  for (const context of contexts) context.close();
  const packets = blocks.filter((block) => block.kind === "packet").map(withoutErf);
  packets.forEach(checkPacket);
  const last = blocks.slice(-2).map((block) => (block.kind === "statistics" ? block : assert.fail(block.kind)));
  for (const { interface: id, received, dropped } of last) {
    assert.ok(dropped > 0 && received > 24_000, `${dropped} of ${received}`);
    assert.equal(packets.filter((packet) => packet.interface === id).length + dropped, received);
  }
  for (let i = 1; i < packets.length; i++) assert.ok(packets[i]!.timeNs >= packets[i - 1]!.timeNs);
});

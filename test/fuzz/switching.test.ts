// Messages change between the short path and packets at any moment, as captures begin and end: every one still arrives once, in order and
// whole, whatever was under way. IBA vol 1, 9.7, 9.8.2.

import assert from "node:assert/strict";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { AdapterCounter } from "../../src/transport/counters.ts";
import { FaultyLink } from "../in-process/faulty-link.ts";
import { connect, datagramQp, type Guest, TestBed } from "../in-process/pair.ts";
import { collect, Flow, LONG, OPCODES, QKEY, type QueuePairs, RC, run } from "./flow.ts";
import { fuzz } from "./kit.ts";

const { SEND_IMM, RDMA_WRITE } = SendOpcode;

const packetsSent = (bed: TestBed): number =>
  bed.guests.reduce((sum, { node }) => sum + node.hca.adapter.counters[AdapterCounter.packetsSent]!, 0);

/** Nobody looks any more: the next messages take the short path. */
function checkReturn(bed: TestBed, flows: readonly Flow[]): void {
  const before = packetsSent(bed);
  const done = flows.map(({ sent }) => sent.length);
  for (const flow of flows) flow.post({ opcode: flow.qp.service === Service.UD ? SEND_IMM : RDMA_WRITE, length: 700, slot: 0 });
  for (let i = 0; i < 64; i++) bed.domain.step();
  collect(bed, flows);
  assert.deepEqual(
    flows.map(({ sent }) => sent.length),
    done.map((count) => count + 1),
  );
  assert.equal(packetsSent(bed), before, "the short path again");
  for (const { from, qp } of flows) assert.notEqual(from.node.hca.adapter.qps.find(qp.number)?.connection?.isRequesting, true);
}

fuzz(
  "packets/switching",
  (random, budget) => {
    const bed = new TestBed(3, { memoryBytes: 24 << 20, packets: false });
    const [a, b, c] = bed.guests as [Guest, Guest, Guest];
    const [ab, ba] = connect(a, b, Service.RC, { ...RC, mtuCode: 1 + random.below(4) });
    const [bc, cb] = connect(b, c, Service.RC, RC);
    const unreliable = connect(a, c, Service.UC);
    const datagrams: QueuePairs = [datagramQp(a, QKEY), datagramQp(b, QKEY)];
    const flows = [
      new Flow(random, [a, b], [ab, ba], OPCODES, LONG),
      new Flow(random, [b, a], [ba, ab], OPCODES),
      new Flow(random, [c, b], [cb, bc], OPCODES),
      new Flow(random, [a, c], unreliable, [SEND_IMM, RDMA_WRITE]),
      new Flow(random, [a, b], datagrams, [SEND_IMM], 2000),
    ];
    const { network } = bed.domain;
    const rate = random.pick([0.02, 0.1, 0.5]);
    let seen = 0;
    run(bed, flows, random, budget, () => {
      for (const { node } of bed.guests) {
        const port = node.hca.adapter.ports[0]!;
        if (!random.chance(rate)) continue;
        if (port.tap === undefined) network.tap(port, { keep: () => seen++ });
        else network.untap(port);
      }
    });
    for (const flow of flows) {
      assert.equal(flow.hasFailed, false, "nothing fails");
      flow.check();
    }
    for (const { node } of bed.guests) network.untap(node.hca.adapter.ports[0]!);
    assert.equal(network.usesLoopback, false);
    checkReturn(bed, flows);
    budget.note(`${Math.ceil(Math.log2(seen + 1))}`);
  },
  { steps: 20_000 },
);

fuzz(
  "packets/switching-loss",
  (random, budget) => {
    const bed = new TestBed(2, { memoryBytes: 16 << 20, packets: false });
    const link = new FaultyLink(bed, random, { loss: random.below(60) / 1000, duplicate: 0.1, reorder: 0.1 });
    const [ab, ba] = connect(bed[0], bed[1], Service.RC, { ...RC, ackTimeout: 8 });
    const flows = [new Flow(random, [bed[0], bed[1]], [ab, ba], OPCODES), new Flow(random, [bed[1], bed[0]], [ba, ab], OPCODES)];
    const { network } = bed.domain;
    run(bed, flows, random, budget, () => {
      link.step();
      if (!random.chance(0.1)) return;
      network.setPath(network.path === "packets" ? "auto" : "packets");
    });
    const failed = flows.find(({ hasFailed }) => hasFailed);
    if (failed !== undefined) {
      // The other direction is flushed, if that was not the first.
      const syndromes = flows.flatMap(({ sent }) => sent.map(({ syndrome }) => syndrome));
      assert.ok(syndromes.includes(Syndrome.TRANSPORT_RETRY), String(syndromes));
    } else for (const flow of flows) flow.check();
    budget.note(`${failed !== undefined} ${link.counts.lost > 0}`);
  },
  { steps: 20_000 },
);

// Two streams of writes over one slow cable, one of service level 0, the other of level 1: virtual lanes give them what VLArbitration says, 1 to 3.
//
//   node examples/verbs/shares.ts                                         all in this process
//   node examples/verbs/shares.ts …/n1.sock …/n2.sock …/n3.sock …/n4.sock HCAs of vhca up --hca n1,n2,n3,n4 --topology FILE with what is below
//
// Measured over two seconds, in the middle of both.

import { LocalFabric } from "../../src/domain/local-fabric.ts";
import { ALL_ACCESS, type Context, connectQp, newWorkCompletions, openDevice, type QueuePair } from "../../src/verbs/index.ts";

const TOPOLOGY = `
switches: { s1: { ports: 8 }, s2: { ports: 8 } }
hosts:
  n1: { switch: s1 }
  n2: { switch: s1 }
  n3: { switch: s2 }
  n4: { switch: s2 }
links:
  - { ends: [s1, s2], width: 1X, speed: SDR }
lanes: true
qos:
  vl: [0, 1]                   # of service levels 0 and 1
  low: { 0: 66, 1: 198 }       # in units of 64 bytes: two packets of 2 KiB, and six
`;
const BYTES = 64 * 1024;
const WINDOW = 32;
const WARM_UP_MS = 300;
const MEASURE_MS = 2000;

/** Keeps some writes under way. */
class Stream {
  written = 0;
  readonly #post: () => void;
  readonly #poll: () => number;

  constructor(from: Context, to: Context, sl: number, lids: readonly [number, number]) {
    const [near, far] = [from, to].map((context) => {
      const pd = context.allocPd();
      const cq = context.createCq(2 * WINDOW);
      const mr = pd.regMr(context.allocMemory(BYTES), ALL_ACCESS);
      const qp: QueuePair = pd.createQp({ qpType: "RC", sendCq: cq, recvCq: cq });
      return { cq, mr, qp };
    });
    if (near === undefined || far === undefined) throw new Error("invariant: two ends");
    connectQp(near.qp, { lid: lids[1], qpNum: far.qp.qpNum, sl, timeout: 18 });
    connectQp(far.qp, { lid: lids[0], qpNum: near.qp.qpNum, sl, timeout: 18 });
    this.#post = () => {
      near.qp.wrStart();
      near.qp.wrRdmaWrite(far.mr.rkey, far.mr.addr);
      near.qp.wrSetSge(near.mr.lkey, near.mr.addr, BYTES);
      near.qp.wrComplete();
    };
    const completions = newWorkCompletions(WINDOW);
    this.#poll = () => {
      const count = near.cq.poll(completions);
      const failed = completions.slice(0, count).find(({ status }) => status !== "SUCCESS");
      if (failed !== undefined) throw new Error(`SL ${sl}: a write failed: ${failed.status}`);
      return count;
    };
    for (let i = 0; i < WINDOW; i++) this.#post();
  }

  step(): void {
    for (let done = this.#poll(); done > 0; done--) {
      this.written += BYTES;
      this.#post();
    }
  }
}

const paths = process.argv.slice(2);
const fabric = paths.length === 0 ? new LocalFabric({ topology: TOPOLOGY }) : undefined;
const contexts = [0, 1, 2, 3].map((i) => fabric?.openDevice() ?? openDevice(paths[i] ?? ""));
const lids: number[] = [];
for (const context of contexts) lids.push((await context.portActive()).lid);
const [n1, n2, n3, n4] = contexts as [Context, Context, Context, Context];
const [l1, l2, l3, l4] = lids as [number, number, number, number];
const streams = [new Stream(n1, n3, 0, [l1, l3]), new Stream(n2, n4, 1, [l2, l4])];

function run(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    fabric?.step();
    for (const stream of streams) stream.step();
  }
}

run(WARM_UP_MS);
const before = streams.map(({ written }) => written);
run(MEASURE_MS);
const rates = streams.map(({ written }, i) => (written - (before[i] ?? 0)) / (MEASURE_MS * 1000));
for (const [sl, rate] of rates.entries()) console.log(`SL ${sl}: ${rate.toFixed(1)} MB/s`);
console.log(
  `1 to ${((rates[1] ?? 0) / (rates[0] ?? 1)).toFixed(2)}, ${((rates[0] ?? 0) + (rates[1] ?? 0)).toFixed(0)} MB/s in all`,
);
process.exit();

// npm run demo: two HCAs in this process, latency and bandwidth by message size, as a table and as charts. No VM, no root, no native
// module: the driver's stores, the engine's sweeps and the copies all happen in this one thread, so a latency here is what the whole
// way costs one processor.

import plot from "simple-ascii-chart";
import { LocalFabric } from "../src/domain/local-fabric.ts";
import { ALL_ACCESS, type CompletionQueue, connectQp, type MemoryRegion, type QueuePair } from "../src/verbs/index.ts";

const SIZES = [1, 8, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576];
const LARGEST = 1 << 20;
/** One measurement ends after this time, in milliseconds, and the median of some counts. */
const TRIAL_MS = 15;
const TRIALS = 5;
const WINDOW = 16;
const KINDS = ["send", "write", "read"] as const;
type Kind = (typeof KINDS)[number];

interface Side {
  readonly qp: QueuePair;
  readonly cq: CompletionQueue;
  readonly mr: MemoryRegion;
}

/** Microseconds of one operation, and megabytes per second with several on the way. */
interface Figures {
  readonly us: number;
  readonly mbPerSecond: number;
}

async function newPair(fabric: LocalFabric): Promise<[Side, Side]> {
  const sides = [];
  for (const context of [fabric.openDevice(), fabric.openDevice()]) {
    const { lid } = await context.portActive();
    const pd = context.allocPd();
    const cq = context.createCq(255);
    const mr = pd.regMr(context.allocMemory(LARGEST), ALL_ACCESS);
    sides.push({ lid, cq, mr, qp: pd.createQp({ qpType: "RC", sendCq: cq, recvCq: cq }) });
  }
  const [a, b] = sides as [Side & { lid: number }, Side & { lid: number }];
  connectQp(a.qp, { lid: b.lid, qpNum: b.qp.qpNum });
  connectQp(b.qp, { lid: a.lid, qpNum: a.qp.qpNum });
  return [a, b];
}

/** Carries `count` operations out, all posted at once. */
function carry(fabric: LocalFabric, [near, far]: [Side, Side], kind: Kind, size: number, count: number): void {
  if (kind === "send") for (let i = 0; i < count; i++) far.qp.postRecvSge(0, far.mr.lkey, far.mr.addr, size);
  near.qp.wrStart();
  for (let i = 0; i < count; i++) {
    if (kind === "send") near.qp.wrSend();
    else if (kind === "write") near.qp.wrRdmaWrite(far.mr.rkey, far.mr.addr);
    else near.qp.wrRdmaRead(far.mr.rkey, far.mr.addr);
    near.qp.wrSetSge(near.mr.lkey, near.mr.addr, size);
  }
  if (near.qp.wrComplete() !== 0) throw new Error("the queue is full");
  drain(fabric, near.cq, count);
  if (kind === "send") drain(fabric, far.cq, count);
}

function drain(fabric: LocalFabric, cq: CompletionQueue, count: number): void {
  for (let done = 0; done < count; ) {
    if (!cq.startPoll()) {
      fabric.step();
      continue;
    }
    do {
      if (cq.status !== "SUCCESS") throw new Error(cq.status);
      done++;
    } while (cq.nextPoll());
    cq.endPoll();
  }
}

/** Microseconds of one `carry` of `count`: the median of some trials. */
function time(fabric: LocalFabric, pair: [Side, Side], kind: Kind, size: number, count: number): number {
  const trials = Array.from({ length: TRIALS }, () => {
    const start = performance.now();
    let rounds = 0;
    let ms = 0;
    for (; ms < TRIAL_MS; ms = performance.now() - start)
      for (let i = 0; i < 8; i++, rounds++) carry(fabric, pair, kind, size, count);
    return (ms * 1000) / rounds;
  });
  return trials.sort((x, y) => x - y)[TRIALS >> 1] as number;
}

function measure(fabric: LocalFabric, pair: [Side, Side], kind: Kind, size: number): Figures {
  return { us: time(fabric, pair, kind, size, 1), mbPerSecond: (size * WINDOW) / time(fabric, pair, kind, size, WINDOW) };
}

const sizeText = (bytes: number): string =>
  bytes < 1024 ? `${bytes}` : bytes < 2 ** 20 ? `${bytes / 1024}K` : `${bytes / 2 ** 20}M`;
const colours = { send: "ansiCyan", write: "ansiYellow", read: "ansiMagenta" } as const;

function printTable(figures: ReadonlyMap<Kind, readonly Figures[]>): void {
  console.log(`${"".padEnd(8)}${"one operation, µs".padEnd(30)}${`${WINDOW} on the way, MB/s`}`);
  console.log(
    `${"bytes".padEnd(8)}${KINDS.map((kind) => kind.padEnd(10)).join("")}${KINDS.map((kind) => kind.padEnd(10)).join("")}`,
  );
  SIZES.forEach((size, i) => {
    const cells = [(f: Figures) => f.us.toFixed(2), (f: Figures) => f.mbPerSecond.toFixed(0)].flatMap((text) =>
      KINDS.map((kind) => text(figures.get(kind)?.[i] as Figures).padEnd(10)),
    );
    console.log(sizeText(size).padEnd(8) + cells.join(""));
  });
}

function printChart(title: string, figures: ReadonlyMap<Kind, readonly Figures[]>, value: (f: Figures) => number): void {
  const series = KINDS.map((kind) =>
    (figures.get(kind) ?? []).map((f, i): [number, number] => [i, Number(value(f).toPrecision(3))]),
  );
  const legend = { position: "right" as const, series: [...KINDS] };
  const formatter = (n: number, { axis }: { axis: string }): string => (axis === "x" ? sizeText(SIZES[n] ?? 0) : String(n));
  console.log(plot(series, { title, width: 60, height: 12, color: KINDS.map((kind) => colours[kind]), legend, formatter }));
}

console.log("Two MT25204 HCAs, a switch, a subnet manager and both programs in this one process.\n");
const fabric = new LocalFabric();
const pair = await newPair(fabric);
for (const kind of KINDS) for (let i = 0; i < 3000; i++) carry(fabric, pair, kind, 64, 4);
const figures = new Map(KINDS.map((kind) => [kind, SIZES.map((size) => measure(fabric, pair, kind, size))]));
printTable(figures);
printChart("latency of one operation, µs, by bytes (up to 4K)", cut(figures, SIZES.indexOf(4096) + 1), ({ us }) => us);
printChart("bandwidth, MB/s, by bytes", figures, ({ mbPerSecond }) => mbPerSecond);
console.log("The same figures between processes and between VMs: npm run bench:engine, npm start.");

function cut(all: ReadonlyMap<Kind, readonly Figures[]>, count: number): Map<Kind, Figures[]> {
  return new Map([...all].map(([kind, list]) => [kind, list.slice(0, count)]));
}

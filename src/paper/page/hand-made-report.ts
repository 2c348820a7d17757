// A report for tests: every kind of figure, every side, ranges, gaps, hostile names. Its values are invented.

import type { Figure, Point, Report, Series } from "../report.ts";

const SIZES = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536];

/** A curve that starts at `least` and grows by `perByte`. */
const curve = (least: number, perByte: number, samples: number | undefined = 5): Point[] =>
  SIZES.map((x) => {
    const y = least + perByte * x;
    return samples === undefined ? { x, y } : { x, y, low: y * 0.93, high: y * 1.2, samples };
  });

const bandwidthOf = (least: number, perByte: number): Point[] =>
  curve(least, perByte).map(({ x, y }) => ({ x, y: x / y, low: x / y / 1.1, high: (x / y) * 1.05, samples: 3 }));

const zero = { operations: 10_000, messagesPerOperation: 0, interruptsPerOperation: 0 };
const trapped = { operations: 10_000, messagesPerOperation: 3, interruptsPerOperation: 0 };

const size = { name: "message size", unit: "B", scale: "log" } as const;

const figure = (id: string, experiment: number, title: string, rest: Partial<Figure> & Pick<Figure, "series">): Figure => ({
  ...{ id, experiment, title, kind: "lines", x: size, y: { name: "one-way latency", unit: "µs", scale: "log" } },
  ...{ isLowerBetter: true, notes: [], missing: [], seconds: 12.4 },
  ...rest,
});

const latency = figure("latency-send", 1, "Latency of send/receive", {
  paperFigure: "Figure 99",
  series: [
    { side: "native", points: curve(1.4, 0.0003), counts: zero, command: "vhca bench paper --side native" },
    { side: "mapped", points: curve(47, 0.001), counts: zero, command: "ib_send_lat -s 64 n1" },
    { side: "trapped", points: curve(410, 0.001), counts: trapped, command: "ib_send_lat -s 64 n1" },
    { side: "answered", points: curve(520, 0.001).slice(0, 2), counts: trapped },
    { side: "tcp", points: curve(312, 0.02) },
    { side: "rxe", points: curve(823, 0.11), note: "the same perftest over rdma_rxe" },
    { side: "paper", label: "Xen-IB", points: [{ x: 1, y: 5 }] },
  ],
  notes: ["Polled. One way: half of what a message takes there and back."],
});

const bandwidth = figure("bandwidth-write", 2, "Bandwidth of RDMA write", {
  ...{ isLowerBetter: false, y: { name: "bandwidth", unit: "MB/s", scale: "linear" } },
  series: [
    { side: "native", points: bandwidthOf(0.4, 0.0001) },
    { side: "mapped", points: bandwidthOf(20, 0.0001), counts: zero },
    { side: "paper", label: "native", points: curve(100, 0.01, undefined) },
    { side: "paper", label: "Xen-IB", points: curve(90, 0.01, undefined) },
  ],
  missing: [{ side: "rxe", why: "the guest's kernel has no rdma_rxe module" }],
});

const events = figure("events", 3, "Latency with blocking verbs", {
  series: [
    { side: "mapped", label: "polling", points: curve(47, 0.001) },
    { side: "mapped", label: "blocking", points: curve(95, 0.001), counts: { ...zero, interruptsPerOperation: 1 } },
    { side: "trapped", label: "polling", points: curve(410, 0.001) },
    { side: "trapped", label: "blocking", points: curve(600, 0.001) },
  ],
});

const bars = (id: string, title: string, categories: string[], series: Series[], rest: Partial<Figure> = {}): Figure =>
  figure(id, 7, title, {
    ...{ kind: "bars", x: { name: "", unit: "", scale: "linear", categories }, series, isLowerBetter: false },
    y: { name: "rate", unit: "Mop/s", scale: "linear" },
    ...rest,
  });

const BENCHMARKS = ["IS", "EP", "CG", "MG", "FT", "LU", "BT", "SP"];
const bar = (factor: number): Point[] =>
  BENCHMARKS.map((_, x) => ({
    x,
    y: factor * (3 + ((x * 5) % 7)),
    low: factor * (2.8 + ((x * 5) % 7)),
    high: factor * (3.3 + ((x * 5) % 7)),
    samples: 3,
  }));

const npb = bars("npb", "NAS Parallel Benchmarks", BENCHMARKS, [
  { side: "mapped", points: bar(10) },
  { side: "trapped", points: bar(6) },
  { side: "tcp", points: bar(2) },
]);

const hpcc = bars(
  "hpcc",
  "HPC Challenge <script>alert(1)</script>",
  ["PingPong latency", "RandomRing bandwidth", "PTRANS", "<b>HPL & more</b>"],
  [
    { side: "mapped", label: '"><img src=x onerror=alert(2)>', points: [100, 4000, 1, 20].map((y, x) => ({ x, y })) },
    { side: "tcp", points: [10, 9, 0, 19].map((y, x) => ({ x, y })), command: "mpirun hpcc && echo '<script>alert(3)</script>'" },
  ],
  { y: { name: "rate", unit: "", scale: "log" }, notes: ["</li><script>alert(4)</script>"] },
);

const empty = figure("registration", 4, "Registration of memory", {
  series: [],
  missing: [{ side: "native", why: "interrupted <i>here</i>" }],
});

/** Six figures; TCG; a claim that is met and one that is not. */
export const HAND_MADE_REPORT: Report = {
  schema: "vhca.paper/1",
  mode: "quick",
  startedAt: "2026-01-02T03:04:05.678Z",
  seconds: 281,
  isComplete: false,
  machine: {
    ...{ name: "hand<made>", cpu: "Some Processor 3000 @ 2.50GHz", cores: 2, kernel: "6.12.0-1-amd64", accelerator: "tcg" },
    ...{
      qemu: "10.1.2",
      guestKernel: "6.12.57+deb13-amd64",
      node: "24.1.0",
      vhca: "0.1.0",
      commit: "0123456789ab",
      load: [0.4, 2.1],
    },
  },
  figures: [latency, bandwidth, events, empty, hpcc, npb],
  claims: [
    { what: "send latency, small: mapped against trapped doorbells (4 B)", asked: "≥ 5 ×", value: 8.72, unit: "×", isMet: true },
    { what: "send latency, small: against TCP over virtio-net (4 B)", asked: "≥ 20 ×", value: 6.6, unit: "×", isMet: false },
    {
      what: "Latency of send/receive, doorbells mapped: messages through the VMM per operation",
      asked: "0",
      value: 0,
      unit: "",
      isMet: true,
    },
  ],
};

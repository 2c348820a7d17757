import assert from "node:assert/strict";
import { test } from "node:test";
import { claimsOf } from "./claims.ts";
import { HAND_MADE_REPORT } from "./page/hand-made-report.ts";
import type { Counts, Figure, Report, Side } from "./report.ts";

const [template] = HAND_MADE_REPORT.figures;

function figure(
  id: string,
  isLowerBetter: boolean,
  sides: Partial<Record<Side, [x: number, y: number][]>>,
  counts?: Counts,
): Figure {
  assert.ok(template);
  const series = Object.entries(sides).map(([side, points]) => ({
    side: side as Side,
    points: points.map(([x, y]) => ({ x, y })),
    ...(counts === undefined ? {} : { counts }),
  }));
  return { ...template, id, isLowerBetter, series };
}

const claims = (...figures: Figure[]): string[] => {
  const report: Report = { ...HAND_MADE_REPORT, figures };
  return claimsOf(report).map(({ what, value, unit, isMet }) => `${what}: ${value} ${unit} ${isMet ? "met" : "missed"}`);
};

test("a ratio says how many times better doorbells in the VM are, for latencies and for bandwidths", () => {
  const latency = figure("latency-send", true, { mapped: [[8, 2]], rxe: [[8, 100]], tcp: [[8, 9]] });
  const bandwidth = figure("bandwidth-send", false, { mapped: [[65536, 3000]], tcp: [[65536, 10]] });
  assert.deepEqual(claims(latency, bandwidth), [
    "send latency, small: against rxe over virtio-net (8 B): 50 × met",
    "send latency, small: against TCP over virtio-net (8 B): 4.5 × missed",
    "send bandwidth, 64 KiB: against TCP over virtio-net (65536 B): 300 × met",
  ]);
});

test("doorbells that leave the VM are compared twice: as QEMU sends them, and waited for", () => {
  const latency = figure("latency-write", true, { mapped: [[8, 2]], trapped: [[8, 4]], answered: [[8, 20]] });
  const rate = figure("bandwidth-write", false, { mapped: [[8, 30]], trapped: [[8, 3]], answered: [[8, 1]] });
  assert.deepEqual(claims(latency, rate), [
    "RDMA write latency, small: mapped against trapped doorbells (8 B): 2 × missed",
    "RDMA writes per second, small: mapped against trapped doorbells (8 B): 10 × met",
    "RDMA write latency, small: against doorbells that are waited for (8 B): 10 × met",
    "RDMA writes per second, small: against doorbells that are waited for (8 B): 30 × met",
  ]);
});

test("sizes that one side lacks are not compared, nor others far from the one that is claimed", () => {
  const other = figure("latency-send", true, { mapped: [[8, 2]], rxe: [[16, 100]] });
  const far = figure("bandwidth-write", false, { mapped: [[8, 2]], rxe: [[8, 1]] });
  assert.deepEqual(claims(other), []);
  assert.deepEqual(claims(far), []);
  const near = figure("latency-send", true, {
    mapped: [
      [2, 1],
      [16, 2],
    ],
    rxe: [
      [2, 1],
      [16, 100],
    ],
  });
  assert.deepEqual(claims(near), ["send latency, small: against rxe over virtio-net (16 B): 50 × met"]);
});

test("the data path bypasses the VMM if no message goes through it for each operation", () => {
  const counts = (messagesPerOperation: number): Counts => ({ operations: 100, messagesPerOperation, interruptsPerOperation: 0 });
  const what = `${template?.title}, doorbells mapped: messages through the VMM per operation`;
  assert.deepEqual(claims(figure("latency-read", true, { mapped: [[8, 2]] }, counts(0))), [`${what}: 0  met`]);
  assert.deepEqual(claims(figure("latency-read", true, { mapped: [[8, 2]] }, counts(1))), [`${what}: 1  missed`]);
});

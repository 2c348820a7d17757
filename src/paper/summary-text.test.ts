// The few lines for the terminal.

import assert from "node:assert/strict";
import { test } from "node:test";
import { HAND_MADE_REPORT } from "./page/hand-made-report.ts";
import { summaryText } from "./summary-text.ts";

const lineWith = (text: string, part: string): string => text.split("\n").find((line) => line.includes(part)) ?? "";

test("claims with their values, in columns", () => {
  const text = summaryText(HAND_MADE_REPORT);
  assert.match(text, /^Claims: 2 of 3 met\n/);
  assert.match(lineWith(text, "against TCP"), /^ {2}✗ send latency, small: against TCP .* 6\.6 × {2}asked: ≥ 20 ×$/);
  const columns = text
    .split("\n")
    .filter((line) => line.includes("asked:"))
    .map((line) => line.indexOf("asked:"));
  assert.equal(new Set(columns).size, 1);
});

test("one line a figure; a native process stands apart from emulated guests", () => {
  const text = summaryText(HAND_MADE_REPORT);
  assert.match(
    lineWith(text, "1  Latency"),
    /at 1 B: mapped 47 · trapped 410 · answered 520 · tcp 312 · rxe 823 µs \(not emulated: native 1\.4 µs\)$/,
  );
  assert.match(lineWith(text, "Bandwidth of RDMA"), /at 64K: mapped 2,468 MB\/s/);
  const alone = {
    ...HAND_MADE_REPORT,
    figures: HAND_MADE_REPORT.figures.map((each) => ({ ...each, series: each.series.slice(0, 1) })),
  };
  assert.match(lineWith(summaryText(alone), "1  Latency"), /at 1 B: native 1\.4 µs$/);
  assert.match(lineWith(text, "Registration"), /nothing measured: interrupted/);
  const onKvm = { ...HAND_MADE_REPORT, machine: { ...HAND_MADE_REPORT.machine, accelerator: "kvm" } };
  assert.match(lineWith(summaryText(onKvm), "1  Latency"), /at 1 B: native 1\.4 · mapped 47 /);
});

test("what the run was, and nothing of the paper's own values", () => {
  const text = summaryText(HAND_MADE_REPORT);
  assert.match(text, /\nquick run, not complete, 4 min 41 s on Some Processor 3000 .*; VMs by tcg\n$/);
  assert.doesNotMatch(text, /paper/);
});

// Published values join what was measured, and are never mistaken for it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { HAND_MADE_REPORT } from "./page/hand-made-report.ts";
import { PUBLISHED, type Published, withPublished } from "./published.ts";

const VALUES: Readonly<Record<string, Published>> = {
  events: { where: "somewhere", series: [{ label: "Xen-IB", points: [{ x: 1, y: 7 }], note: "section 0" }] },
  "latency-send": { where: "elsewhere", series: [{ points: [{ x: 1, y: 8 }] }] },
};

const figureOf = (id: string) => {
  const figure = HAND_MADE_REPORT.figures.find((each) => each.id === id);
  assert.ok(figure);
  return figure;
};

test("published series come last, as the paper's; the report itself stays as it is", () => {
  const events = figureOf("events");
  const count = events.series.length;
  const joined = withPublished(events, VALUES);
  assert.equal(joined.paperFigure, "somewhere");
  assert.deepEqual(joined.series.slice(count), [{ side: "paper", label: "Xen-IB", points: [{ x: 1, y: 7 }], note: "section 0" }]);
  assert.equal(events.series.length, count);
  assert.equal(events.paperFigure, undefined);
});

test("a figure's own published values and place are kept; unknown figures, too", () => {
  const latency = figureOf("latency-send");
  assert.deepEqual(withPublished(latency, VALUES), latency);
  assert.equal(withPublished(figureOf("npb"), VALUES), figureOf("npb"));
  const odd = { ...latency, id: "constructor" };
  assert.equal(withPublished(odd, VALUES), odd);
});

test("every published value says where it stands", () => {
  for (const { where, series } of Object.values(PUBLISHED)) {
    assert.notEqual(where, "");
    for (const { note, points } of series) assert.ok(note !== undefined && points.length > 0, where);
  }
});

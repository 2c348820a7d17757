// The page drawn from a hand-made report: everything that is in the report is on it, and nothing of the report is taken as HTML.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { HAND_MADE_REPORT } from "./page/hand-made-report.ts";
import { drawnPoints } from "./page/points.ts";
import { renderPage } from "./page.ts";
import { type Figure, reportSchema, SIDES } from "./report.ts";

const count = (text: string, part: string): number => text.split(part).length - 1;

/** A figure's section of the page. */
function sectionOf(page: string, figure: Figure): string {
  const section = page.split("<section ").find((each) => each.includes(`id="figure-${figure.id}"`));
  assert.ok(section, `no section for ${figure.id}`);
  return section;
}

/** The wide drawing of a section, and the narrow one. */
const drawingsOf = (section: string): string[] =>
  ["wide", "narrow"].map((size) => section.split(`class="chart ${size}"`)[1]?.split("</svg>")[0] ?? "");

/** Shapes that a mark of the drawing consists of. */
const shapesOf = (drawing: string, mark: string): number =>
  count(drawing.split(`role-mark ${mark}"`)[1]?.split("</g>")[0] ?? "", "<path ");

describe("the page of a report", async () => {
  const report = reportSchema.parse(HAND_MADE_REPORT);
  const page = await renderPage(report);

  test("draws every series, with a marker for every point, in both widths", () => {
    for (const figure of report.figures) {
      const section = sectionOf(page, figure);
      for (const [i, series] of figure.series.entries())
        for (const drawing of drawingsOf(section)) {
          const points = drawnPoints(figure, i).length;
          assert.ok(points > 0, `${figure.id}: ${series.side}`);
          assert.equal(shapesOf(drawing, `series-${i}-markers`), points);
          assert.equal(shapesOf(drawing, `series-${i}`), figure.kind === "bars" ? points : 1);
        }
    }
  });

  test("takes no text of the report as HTML", () => {
    assert.equal(count(page.toLowerCase(), "<script"), 0);
    assert.equal(count(page, "<img"), 0);
    for (const text of [
      "hand&lt;made&gt;",
      "&lt;script&gt;alert(1)",
      "&lt;b&gt;HPL &amp; more&lt;/b&gt;",
      "interrupted &lt;i&gt;here",
    ])
      assert.ok(page.includes(text), text);
  });

  test("needs no other file", () => {
    const addresses = [...page.matchAll(/\b(?:src|href)="([^"]*)"|\burl\(([^)]*)/gi)].map(([, quoted, inCss]) => quoted ?? inCss);
    for (const address of addresses) assert.match(address ?? "", /^(#figure-|data:,$)/);
    assert.doesNotMatch(page, /@import/);
  });

  test("colours series by side, through variables of both schemes", () => {
    for (const side of SIDES) {
      assert.ok(page.includes(`stroke="var(--${side})"`), side);
      assert.equal(count(page, `--${side}:#`), 2, side);
    }
  });

  test("says what is missing, what failed and what must not be compared", () => {
    const [latency, bandwidth, events, empty] = report.figures.map((figure) => sectionOf(page, figure));
    assert.ok(latency?.includes("emulated one (TCG)"));
    assert.ok(!events?.includes("emulated one (TCG)"), "no native process in this figure");
    assert.ok(bandwidth?.includes("no rdma_rxe module"));
    assert.ok(empty?.includes("Nothing was measured"));
    assert.equal(count(page, "✓ met"), 2);
    assert.equal(count(page, "✗ not met"), 1);
    assert.ok(page.includes("This run is not complete"));
    assert.ok(page.includes("A quick run"));
  });

  test("has the values, the counts and the commands below the figure", () => {
    const section = sectionOf(page, report.figures[0] as Figure);
    assert.ok(section.includes("ib_send_lat -s 64 n1"));
    assert.match(section, /<th scope="row">64K<\/th>/);
    assert.match(section, /<td>410<small>381–492 × 5<\/small>/);
    assert.match(section, /data-label="VMM messages per operation">3</);
  });
});

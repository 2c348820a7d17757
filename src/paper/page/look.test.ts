// Colours that can be told from what is behind them, and series from each other without colours.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SIDES } from "../report.ts";
import { HAND_MADE_REPORT } from "./hand-made-report.ts";
import { COLOURS, looksOf } from "./look.ts";

/** Relative luminance (WCAG 2.2, "relative luminance"). */
function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5]
    .map((at) => Number.parseInt(colour.slice(at, at + 2), 16) / 255)
    .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(a: string, b: string): number {
  const [dark = 0, light = 0] = [luminance(a), luminance(b)].sort((p, q) => p - q);
  return (light + 0.05) / (dark + 0.05);
}

test("every side's colour stands out from the card, in both schemes (WCAG 2.2, 1.4.11: 3 to 1)", () => {
  for (const side of SIDES) {
    assert.ok(contrast(COLOURS[side].light, "#ffffff") >= 3, `${side}, light`);
    assert.ok(contrast(COLOURS[side].dark, "#1c2026") >= 3, `${side}, dark`);
  }
});

test("no two series of a figure look alike, colours aside; published ones are dashed", () => {
  for (const figure of HAND_MADE_REPORT.figures) {
    const looks = looksOf(figure);
    assert.equal(new Set(looks.map(({ shape, dash, isHollow }) => `${shape} ${dash} ${isHollow}`)).size, looks.length, figure.id);
    for (const [i, { side }] of figure.series.entries())
      assert.ok(side !== "paper" || (looks[i]?.dash.length ?? 0) > 0, figure.id);
  }
});

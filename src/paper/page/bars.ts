// Bars side by side for applications; each carries its side's marker, for those who do not see its colour.

import type { Mark, Scale } from "vega";
import type { Look } from "./look.ts";
import { markerMark, rangeMark } from "./marks.ts";

/** Places of the groups, and of the bars within a group. */
export function barScales(groups: number, bars: number): Scale[] {
  return [
    { name: "x", type: "band", domain: numbers(groups), range: "width", paddingInner: 0.25, paddingOuter: 0.15 },
    { name: "bar", type: "band", domain: numbers(bars), range: [0, { signal: "bandwidth('x')" }], paddingInner: 0.08 },
  ];
}

/**
 * Marks of one series of bars.
 * @param floor where the bars stand, in the figure's unit
 * @param hasTexts whether the value is written above each, from the signal `texts-INDEX`
 */
export function barMarks(look: Look, index: number, floor: number, hasTexts: boolean): Mark[] {
  const left = { scale: "x", field: "x", offset: { scale: "bar", value: index } };
  const middle = { scale: "x", field: "x", offset: { scale: "bar", value: index, band: 0.5 } };
  const bar: Mark = {
    type: "rect",
    name: `series-${index}`,
    aria: false,
    from: { data: `s${index}` },
    encode: {
      enter: {
        x: left,
        width: { scale: "bar", band: 1 },
        y: { scale: "y", field: "y" },
        y2: { scale: "y", value: floor },
        fill: { value: look.colour },
        fillOpacity: { value: look.isHollow ? 0.15 : 0.85 },
        stroke: { value: look.colour },
        strokeDash: { value: [...look.dash] },
      },
    },
  };
  const marks = [bar, rangeMark(look, `s${index}`, middle), markerMark(look, `series-${index}-markers`, `s${index}`, middle)];
  return hasTexts ? [...marks, textMark(index, middle)] : marks;
}

function textMark(index: number, middle: object): Mark {
  return {
    type: "text",
    aria: false,
    from: { data: `s${index}` },
    encode: {
      enter: {
        x: middle,
        y: { scale: "y", field: "high", offset: -9 },
        text: { signal: `texts${index}[datum.x]` },
        align: { value: "center" },
        fontSize: { value: TEXT_PIXELS },
        fill: { value: "var(--ink)" },
      },
    },
  };
}

const TEXT_PIXELS = 11;
const CHARACTER_PIXELS = 6.6;

/** True if every text fits above its bar. @param width pixels of the whole axis */
export function fitAbove(texts: readonly string[], groups: number, bars: number, width: number): boolean {
  const each = (width * 0.78) / groups / bars;
  return texts.every((text) => text.length * CHARACTER_PIXELS <= each);
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

// A series as marks of Vega: the range of each point, a line through the medians, a marker on each.

import type { Mark } from "vega";
import type { Look } from "./look.ts";

const MARKER_AREA = 52;
const HOLLOW_AREA = 64;

/** Marks of one series of lines; the tables are names of data sets with x, y, low and high. */
export function seriesMarks(look: Look, name: string, data: { line: string; points: string }): Mark[] {
  const x = { scale: "x", field: "x" };
  return [
    rangeMark(look, data.points, x),
    {
      type: "line",
      name,
      aria: false,
      from: { data: data.line },
      encode: {
        enter: {
          x,
          y: { scale: "y", field: "y" },
          stroke: { value: look.colour },
          strokeWidth: { value: 2 },
          strokeDash: { value: [...look.dash] },
          strokeJoin: { value: "round" },
        },
      },
    },
    markerMark(look, `${name}-markers`, data.points, x),
  ];
}

/** From the least to the greatest of the runs. */
export function rangeMark(look: Look, data: string, x: object): Mark {
  return {
    type: "rule",
    aria: false,
    from: { data },
    encode: {
      enter: {
        x,
        y: { scale: "y", field: "low" },
        y2: { scale: "y", field: "high" },
        stroke: { value: look.colour },
        strokeWidth: { value: 1.5 },
        strokeOpacity: { value: 0.6 },
      },
    },
  };
}

/** The marker of a side on each value. */
export function markerMark(look: Look, name: string, data: string, x: object): Mark {
  return {
    type: "symbol",
    name,
    aria: false,
    from: { data },
    encode: {
      enter: {
        x,
        y: { scale: "y", field: "y" },
        shape: { value: look.shape },
        size: { value: look.isHollow ? HOLLOW_AREA : MARKER_AREA },
        fill: { value: look.isHollow ? "var(--card)" : look.colour },
        stroke: { value: look.isHollow ? look.colour : "var(--card)" },
        strokeWidth: { value: look.isHollow ? 1.5 : 0.75 },
      },
    },
  };
}

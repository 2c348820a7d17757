// A figure as SVG, drawn by Vega without a browser. Colours are CSS variables of the page, so that one drawing serves its light and
// its dark scheme; the legend is part of the page, where it can wrap.

import type { Axis, Mark, Scale, Spec } from "vega";
import type { Figure } from "../report.ts";
import { barMarks, barScales, fitAbove } from "./bars.ts";
import { type Look, looksOf } from "./look.ts";
import { seriesMarks } from "./marks.ts";
import { decadeTicks, formatBytes, formatNumber, isBytes, linearTicks, sizeTicks, type Ticks, withUnit } from "./numbers.ts";
import { drawnPoints, valueRange } from "./points.ts";

/** Pixels of the drawing; the page shows the one that fits. */
export interface Size {
  readonly width: number;
  readonly height: number;
  /** Ticks on the x axis, at most. */
  readonly ticks: number;
}

export const WIDE: Size = { width: 760, height: 380, ticks: 12 };
export const NARROW: Size = { width: 350, height: 300, ticks: 6 };

/** Draws a figure; empty text if no series has a point that can be drawn. */
export async function drawFigure(figure: Figure, size: Size): Promise<string> {
  if (valueRange(figure) === undefined) return "";
  return drawSpec(figure.kind === "bars" ? barsSpec(figure, size) : linesSpec(figure, size));
}

/** The line and marker of a series, for the legend. */
export async function drawSample(look: Look): Promise<string> {
  const values = [
    { x: 2, y: 8, isEnd: true },
    { x: 22, y: 8 },
    { x: 42, y: 8, isEnd: true },
  ];
  const line = values.filter((each) => each.isEnd);
  const at = [{ x: 22, y: 8, low: 8, high: 8 }];
  return drawSpec({
    width: 44,
    height: 16,
    padding: 0,
    data: [
      { name: "line", values: line },
      { name: "points", values: at },
    ],
    scales: [
      { name: "x", type: "linear", domain: [0, 44], range: [0, 44] },
      { name: "y", type: "linear", domain: [0, 16], range: [0, 16] },
    ],
    marks: seriesMarks(look, "sample", { line: "line", points: "points" }),
  });
}

async function drawSpec(spec: Spec): Promise<string> {
  // Loaded when something is drawn: it takes longer than many a command of vhca.
  const { parse, View } = await import("vega");
  const view = new View(parse({ ...spec, config: CONFIG }), { renderer: "none" });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

const CONFIG = {
  axis: {
    labelColor: "var(--ink)",
    titleColor: "var(--ink)",
    gridColor: "var(--grid)",
    domainColor: "var(--axis)",
    tickColor: "var(--axis)",
    labelFontSize: 12,
    // Without a canvas, Vega takes texts for wider than they are.
    labelLimit: 400,
    titleFontSize: 12,
    titleFontWeight: "normal",
    titlePadding: 8,
  },
} as const;

const frame = (size: Size): Spec => ({
  width: size.width,
  height: size.height,
  padding: 4,
  autosize: { type: "fit", contains: "padding" },
});

function linesSpec(figure: Figure, size: Size): Spec {
  const xs = figure.series.flatMap((_, i) => drawnPoints(figure, i).map((each) => each.x));
  const xTicks = figure.x.scale === "log" ? sizeTicks(xs, size.ticks) : linearTicks(Math.max(...xs));
  const yTicks = valueTicks(figure);
  const write = isBytes(figure.x.unit) ? formatBytes : formatNumber;
  const marks: Mark[] = [];
  for (const [i, look] of inDrawingOrder(figure))
    marks.push(...seriesMarks(look, `series-${i}`, { line: `s${i}`, points: `s${i}` }));
  return {
    ...frame(size),
    signals: [labelSignal("xLabels", xTicks, write), labelSignal("yLabels", yTicks, formatNumber)],
    data: figure.series.map((_, i) => ({ name: `s${i}`, values: drawnPoints(figure, i) })),
    scales: [
      { name: "x", type: figure.x.scale, domain: [...xTicks.domain], range: "width", zero: false, nice: false, padding: 10 },
      yScale(figure, yTicks),
    ],
    axes: [yAxis(yTicks), xAxis(figure, [...xTicks.values])],
    marks,
  };
}

function barsSpec(figure: Figure, size: Size): Spec {
  const yTicks = valueTicks(figure);
  const names = figure.x.categories ?? [];
  const count = Math.max(names.length, ...figure.series.flatMap((each) => each.points.map(({ x }) => x + 1)));
  const labels = Array.from({ length: count }, (_, i) => names[i] ?? String(i));
  // Names that would run into each other are written aslant.
  const isSlanted = labels.some((each) => each.length * 7 > (size.width - AXIS_PIXELS) / count);
  const texts = figure.series.map((_, i) => drawnPoints(figure, i).map(({ x, y }) => [x, formatNumber(y)] as const));
  const hasTexts = fitAbove(
    texts.flat().map(([, text]) => text),
    count,
    texts.length,
    size.width - AXIS_PIXELS,
  );
  const marks: Mark[] = [];
  for (const [i, look] of inDrawingOrder(figure)) marks.push(...barMarks(look, i, yTicks.domain[0], hasTexts));
  return {
    ...frame({ ...size, height: size.height + (isSlanted ? SLANTED_PIXELS : 0) }),
    signals: [
      { name: "xLabels", value: labels },
      labelSignal("yLabels", yTicks, formatNumber),
      ...texts.map((each, i) => ({ name: `texts${i}`, value: Object.fromEntries(each) })),
    ],
    data: figure.series.map((_, i) => ({ name: `s${i}`, values: drawnPoints(figure, i) })),
    scales: [...barScales(count, figure.series.length), yScale(figure, yTicks)],
    axes: [yAxis(yTicks), { ...xAxis(figure, undefined), ...(isSlanted ? SLANTED : {}) }],
    marks,
  };
}

/** What is left of the y axis, about. */
const AXIS_PIXELS = 60;

/** What slanted names need below the axis, about. */
const SLANTED_PIXELS = 70;

const SLANTED = { labelAngle: -35, labelAlign: "right", labelBaseline: "middle" } as const;

/** What the paper published lies below what was measured. */
function inDrawingOrder(figure: Figure): [number, Look][] {
  const entries = [...looksOf(figure).entries()];
  const isPaper = ([i]: [number, Look]): boolean => figure.series[i]?.side === "paper";
  return [...entries.filter(isPaper), ...entries.filter((each) => !isPaper(each))];
}

function valueTicks(figure: Figure): Ticks {
  const { low, high } = valueRange(figure) ?? { low: 1, high: 1 };
  // The least of bars must be seen to be there.
  const least = figure.kind === "bars" ? low / 1.5 : low;
  return figure.y.scale === "log" ? decadeTicks(least, high) : linearTicks(high);
}

const yScale = (figure: Figure, ticks: Ticks): Scale => ({
  name: "y",
  type: figure.y.scale,
  domain: [...ticks.domain],
  range: "height",
  zero: false,
  nice: false,
});

/** Texts of an axis by value: no text of the report is ever part of an expression. */
function labelSignal(name: string, ticks: Ticks, write: (value: number) => string): { name: string; value: object } {
  return { name, value: Object.fromEntries(ticks.values.map((each) => [each, write(each)])) };
}

const yAxis = (ticks: Ticks): Axis => ({
  orient: "left",
  scale: "y",
  values: [...ticks.values],
  grid: true,
  domain: false,
  ticks: false,
  labelPadding: 6,
  encode: { labels: { update: { text: { signal: "yLabels[datum.value]" } } } },
});

function xAxis(figure: Figure, values: number[] | undefined): Axis {
  const title = withUnit(figure.x);
  return {
    orient: "bottom",
    scale: "x",
    ...(values && { values }),
    ...(title !== "" && { title }),
    labelOverlap: figure.kind === "bars" ? false : "greedy",
    encode: { labels: { update: { text: { signal: "xLabels[datum.value]" } } } },
  };
}

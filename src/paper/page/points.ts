// The points of a figure that can be drawn on its axes.

import type { Figure } from "../report.ts";

/** A point with its range, which is the point itself where it was measured once. */
export interface DrawnPoint {
  readonly x: number;
  readonly y: number;
  readonly low: number;
  readonly high: number;
}

/** A series' points in the order of x, without those that a logarithmic axis has no place for. */
export function drawnPoints(figure: Figure, index: number): DrawnPoint[] {
  const isLogX = figure.kind === "lines" && figure.x.scale === "log";
  const isLogY = figure.y.scale === "log";
  return (figure.series[index]?.points ?? [])
    .filter(({ x, y }) => Number.isFinite(y) && (!isLogX || x > 0) && (!isLogY || y > 0))
    .map(({ x, y, low, high }) => ({ x, y, low: isLogY && !(low !== undefined && low > 0) ? y : (low ?? y), high: high ?? y }))
    .sort((a, b) => a.x - b.x);
}

/** How many points of a figure cannot be drawn. */
export function countUndrawn(figure: Figure): number {
  return figure.series.reduce((sum, { points }, i) => sum + points.length - drawnPoints(figure, i).length, 0);
}

/** Least and greatest value that is drawn; undefined if none is. */
export function valueRange(figure: Figure): { low: number; high: number } | undefined {
  const points = figure.series.flatMap((_, i) => drawnPoints(figure, i));
  if (points.length === 0) return undefined;
  return { low: Math.min(...points.map(({ low }) => low)), high: Math.max(...points.map(({ high }) => high)) };
}

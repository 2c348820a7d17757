// A report in a few lines for the terminal: what was claimed and what came out, then one line a
// figure. Values of emulated guests and of a native process never stand side by side as if they were alike.

import { isEmulated } from "./page/figure.ts";
import { formatDuration } from "./page/head.ts";
import { formatNumber, isBytes } from "./page/numbers.ts";
import { nameOfX } from "./page/tables.ts";
import type { Claim, Figure, Report, Side } from "./report.ts";

/** How the terminal writes what stands out; none of it by default. */
export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  good(text: string): string;
  bad(text: string): string;
}

const same = (text: string): string => text;
const PLAIN: Paint = { bold: same, dim: same, good: same, bad: same };

/** Claims, figures, and what the run was, as lines that end with a line break. */
export function summaryText(report: Report, paint: Paint = PLAIN): string {
  const lines = [...claimLines(report.claims, paint), ...figureLines(report, paint), lastLine(report)];
  return `${lines.join("\n")}\n`;
}

function claimLines(claims: readonly Claim[], paint: Paint): string[] {
  if (claims.length === 0) return [];
  const measured = claims.map(({ value, unit }) => `${formatNumber(value)} ${unit}`.trim());
  const width = Math.max(...claims.map(({ what }) => what.length));
  const valueWidth = Math.max(...measured.map((each) => each.length));
  const lines = claims.map(({ what, asked, isMet }, i) => {
    const mark = isMet ? paint.good("✓") : paint.bad("✗");
    return `  ${mark} ${what.padEnd(width)}  ${(measured[i] ?? "").padStart(valueWidth)}  ${paint.dim(`asked: ${asked}`)}`;
  });
  const met = claims.filter(({ isMet }) => isMet).length;
  return [paint.bold(`Claims: ${met} of ${claims.length} met`), ...lines, ""];
}

function figureLines({ figures, machine }: Report, paint: Paint): string[] {
  if (figures.length === 0) return [];
  const titles = figures.map(({ experiment, title }) => `${experiment}  ${title}`);
  const width = Math.max(...titles.map((each) => each.length));
  const lines = figures.map(
    (figure, i) => `  ${(titles[i] ?? "").padEnd(width)}  ${figureLine(figure, isEmulated(machine), paint)}`,
  );
  return [paint.bold("Figures"), ...lines, ""];
}

/** One place of the x axis, and every side's value there: the least size for times, the greatest for rates. */
function figureLine(figure: Figure, isApart: boolean, paint: Paint): string {
  const place = tellingPlace(figure);
  if (place === undefined)
    return paint.dim(`nothing measured: ${figure.missing.map(({ why }) => why).join("; ") || "no values"}`);
  const valuesOf = (isWanted: (side: Side) => boolean): string =>
    figure.series
      .filter(({ side }) => side !== "paper" && isWanted(side))
      .flatMap(({ side, label, points }) => {
        const point = points.find(({ x }) => x === place);
        return point === undefined
          ? []
          : [`${paint.dim(label === undefined ? side : `${side} ${label}`)} ${formatNumber(point.y)}`];
      })
      .join(paint.dim(" · "));
  const guests = valuesOf((side) => side !== "native");
  const alike = isApart && guests !== "" ? guests : valuesOf(() => true);
  const native = alike === guests ? valuesOf((side) => side === "native") : "";
  const unit = figure.y.unit === "" ? "" : ` ${figure.y.unit}`;
  const apart = native === "" ? "" : `(not emulated: ${native}${unit})`;
  return [paint.dim(`${placeOf(figure, place)}:`), alike === "" ? "" : `${alike}${unit}`, apart]
    .filter((each) => each !== "")
    .join(" ");
}

function placeOf(figure: Figure, x: number): string {
  if (figure.kind === "bars") return nameOfX(figure, x);
  const name = nameOfX(figure, x);
  return isBytes(figure.x.unit) && /\d$/.test(name) ? `at ${name} B` : `at ${name}`;
}

/** Where most sides have a value; of such places the first for times, the last for rates. */
function tellingPlace(figure: Figure): number | undefined {
  const counts = new Map<number, number>();
  for (const { points, side } of figure.series)
    if (side !== "paper") for (const { x } of points) counts.set(x, (counts.get(x) ?? 0) + 1);
  const most = Math.max(0, ...counts.values());
  const places = [...counts].filter(([, count]) => count === most).map(([x]) => x);
  if (places.length === 0) return undefined;
  return figure.isLowerBetter || figure.kind === "bars" ? Math.min(...places) : Math.max(...places);
}

function lastLine({ machine, mode, seconds, isComplete }: Report): string {
  const state = isComplete ? "" : ", not complete";
  return `${mode} run${state}, ${formatDuration(seconds)} on ${machine.cpu}, ${machine.cores} cores; VMs by ${machine.accelerator}`;
}

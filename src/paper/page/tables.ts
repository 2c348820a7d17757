// The tables below a figure: its legend with what each series cost the VMM, its values, its commands.

import type { Figure, Point } from "../report.ts";
import { type Html, html } from "./html.ts";
import { type Look, looksOf } from "./look.ts";
import { formatBytes, formatNumber, isBytes, withUnit } from "./numbers.ts";

/** The legend; where the domain counted, also messages through the VMM and interrupts per operation. */
export function legend(figure: Figure, samples: readonly Html[]): Html {
  const looks = looksOf(figure);
  const isCounted = figure.series.some(({ counts }) => counts !== undefined);
  const head = isCounted
    ? html`<thead><tr><th>series</th><th>messages through the VMM<br>per operation</th><th>interrupts<br>per operation</th><th>operations<br>counted</th></tr></thead>`
    : undefined;
  const rows = figure.series.map((series, i) => {
    const name = html`<th scope="row"><div class="series"><span class="sample">${samples[i]}</span><span>${looks[i]?.name}${paperMark(series.side)}${noteOf(series.note)}</span></div></th>`;
    return html`<tr>${name}${isCounted ? countCells(series.counts) : undefined}</tr>`;
  });
  return html`<table class="key stacked">${head}<tbody>${rows}</tbody></table>`;
}

const paperMark = (side: string): Html | undefined =>
  side === "paper" ? html` <span class="soft">(other hardware)</span>` : undefined;

const noteOf = (note: string | undefined): Html | undefined =>
  note === undefined ? undefined : html`<br><small class="soft">${note}</small>`;

function countCells(counts: Figure["series"][number]["counts"]): Html {
  if (counts === undefined) return html`<td class="none">–</td><td class="none">–</td><td class="none">–</td>`;
  const { messagesPerOperation, interruptsPerOperation, operations } = counts;
  return html`<td data-label="VMM messages per operation">${formatNumber(messagesPerOperation)}</td>
<td data-label="interrupts per operation">${formatNumber(interruptsPerOperation)}</td><td data-label="operations counted">${formatNumber(operations)}</td>`;
}

/** All values: the median, and below it the least and greatest and how many there were. */
export function values(figure: Figure): Html {
  const xs = [...new Set(figure.series.flatMap(({ points }) => points.map(({ x }) => x)))].sort((a, b) => a - b);
  const heads = looksOf(figure).map(({ name }) => html`<th scope="col">${name}</th>`);
  const rows = xs.map((x) => {
    const cells = figure.series.map(({ points }) => valueCell(points.find((each) => each.x === x)));
    return html`<tr><th scope="row">${nameOfX(figure, x)}</th>${cells}</tr>`;
  });
  return html`<details><summary>${withUnit({ name: "Values", unit: figure.y.unit })}: median, least–greatest × samples</summary><div class="scroll">
<table><thead><tr><th scope="col">${withUnit(figure.x)}</th>${heads}</tr></thead><tbody>${rows}</tbody></table></div></details>`;
}

/** What stands at a place of the x axis: a category, a size, a number. */
export function nameOfX(figure: Figure, x: number): string {
  const category = figure.x.categories?.[x];
  if (category !== undefined) return category;
  return isBytes(figure.x.unit) ? formatBytes(x) : formatNumber(x);
}

function valueCell(point: Point | undefined): Html {
  if (point === undefined) return html`<td class="soft">–</td>`;
  const { y, low, high, samples } = point;
  const range =
    low === undefined || high === undefined || low === high ? undefined : `${formatNumber(low)}–${formatNumber(high)}`;
  const details = [range, samples === undefined ? undefined : `× ${samples}`].filter((each) => each !== undefined).join(" ");
  return html`<td>${formatNumber(y)}${details === "" ? undefined : html`<small>${details}</small>`}</td>`;
}

/** What was run, as a user would type it. */
export function commands(figure: Figure): Html | undefined {
  const looks: readonly Look[] = looksOf(figure);
  const entries = figure.series.flatMap(({ command }, i) =>
    command === undefined ? [] : [html`<p class="small">${looks[i]?.name}</p><pre><code>${command}</code></pre>`],
  );
  return entries.length === 0 ? undefined : html`<details><summary>Commands</summary>${entries}</details>`;
}

// One figure of the page: heading, drawing in two widths, legend, what is missing, notes, values, commands.

import { type Figure, type Machine, SIDE_NAMES, type Side } from "../report.ts";
import { drawFigure, drawSample, NARROW, WIDE } from "./chart.ts";
import { Html, html } from "./html.ts";
import { looksOf } from "./look.ts";
import { withUnit } from "./numbers.ts";
import { countUndrawn } from "./points.ts";
import { commands, legend, values } from "./tables.ts";

/** Draws a figure as a section of the page. */
export async function renderFigure(figure: Figure, machine: Machine): Promise<Html> {
  const samples = await Promise.all(looksOf(figure).map(async (look) => new Html(await drawSample(look))));
  const better = figure.isLowerBetter ? "lower is better" : "higher is better";
  const where =
    figure.paperFigure === undefined ? undefined : html`<span class="soft small">in the paper: ${figure.paperFigure}</span>`;
  return html`<section class="card figure" id="${anchorOf(figure)}">
<div class="heading"><h3>${figure.title}</h3>${where}</div>
<p class="soft small">${withUnit(figure.y)}, ${better}${figure.y.scale === "log" ? "; logarithmic" : undefined}</p>
${unlikeNotice(figure, machine)}
${await drawings(figure)}
${figure.series.length === 0 ? undefined : legend(figure, samples)}
${missing(figure)}
${notes(figure)}
${figure.series.length === 0 ? undefined : values(figure)}
${commands(figure)}
<p class="soft small">Measured in ${Math.round(figure.seconds)} s.</p>
</section>`;
}

/** The name a link to the figure uses. */
export const anchorOf = (figure: Figure): string => `figure-${figure.id.replace(/[^\w-]/g, "_")}`;

async function drawings(figure: Figure): Promise<Html> {
  const [wide, narrow] = await Promise.all([drawFigure(figure, WIDE), drawFigure(figure, NARROW)]);
  if (wide === "") return html`<p class="notice">Nothing was measured for this figure.</p>`;
  return html`<div class="chart wide" role="img" aria-label="${figure.title}">${new Html(wide)}</div>
<div class="chart narrow" role="img" aria-label="${figure.title}">${new Html(narrow)}</div>`;
}

const IN_A_VM: readonly Side[] = ["mapped", "trapped", "answered", "tcp", "rxe"];

/** True where guests run in an emulated processor. */
export const isEmulated = (machine: Machine): boolean => /\btcg\b/i.test(machine.accelerator);

/** What must not be compared as if it were alike. */
function unlikeNotice(figure: Figure, machine: Machine): Html | undefined {
  const sides = new Set(figure.series.filter(({ points }) => points.length > 0).map(({ side }) => side));
  if (!isEmulated(machine) || !sides.has("native") || !IN_A_VM.some((side) => sides.has(side))) return undefined;
  return html`<p class="notice">The native process ran on the processor itself, the VMs in an emulated one (TCG), many times
slower: compare the VMs with each other, not with it.</p>`;
}

function missing(figure: Figure): Html | undefined {
  if (figure.missing.length === 0) return undefined;
  const items = figure.missing.map(({ side, why }) => html`<li>Not measured: ${SIDE_NAMES[side]} (${why})</li>`);
  return html`<ul class="small">${items}</ul>`;
}

function notes(figure: Figure): Html | undefined {
  const undrawn = countUndrawn(figure);
  const all =
    undrawn === 0
      ? figure.notes
      : [
          ...figure.notes,
          `${undrawn === 1 ? "One value has" : `${undrawn} values have`} no place on a logarithmic axis: see the table.`,
        ];
  return all.length === 0 ? undefined : html`<ul class="small">${all.map((each) => html`<li>${each}</li>`)}</ul>`;
}

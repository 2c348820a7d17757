// The top of the page: what was run where, what was claimed and what came out, and where the figures are.

import type { Report } from "../report.ts";
import { EXPERIMENTS } from "./experiments.ts";
import { anchorOf, isEmulated } from "./figure.ts";
import { type Html, html } from "./html.ts";
import { formatNumber } from "./numbers.ts";

/** Title, warnings, machine, claims, contents. */
export function renderHead(report: Report): Html {
  return html`<h1>VMM-bypass I/O, measured again</h1>
<p class="soft">The experiments of <cite>High Performance VMM-Bypass I/O in Virtual Machines</cite> (Liu, Huang, Abali, Panda, USENIX ATC 2006) on vhca, a
software InfiniBand HCA for virtual machines. ${aboutPublished(report)}</p>
${warnings(report)}
${claims(report)}
${facts(report)}
${contents(report)}`;
}

function aboutPublished({ figures }: Report): string {
  const hasValues = figures.some(({ series }) => series.some(({ side }) => side === "paper"));
  return hasValues
    ? "Dashed and hollow: values that the paper gives as numbers, from other hardware, in 2006."
    : "Values that the paper published are not drawn: none have been entered, and none are guessed from its pictures.";
}

function warnings(report: Report): Html | undefined {
  const found: string[] = [];
  if (!report.isComplete) found.push("This run is not complete: some figures are missing or have fewer values than planned.");
  if (report.mode !== "full")
    found.push(
      `A ${report.mode} run: few sizes and few samples. It shows that everything works; its values are not for quoting.`,
    );
  if (isEmulated(report.machine))
    found.push(
      "The VMs ran in an emulated processor (TCG): they are compared with each other only, never with the native process.",
    );
  return found.length === 0 ? undefined : html`<div class="notice"><ul>${found.map((each) => html`<li>${each}</li>`)}</ul></div>`;
}

function claims({ claims }: Report): Html | undefined {
  if (claims.length === 0) return undefined;
  const rows = claims.map(
    ({
      what,
      asked,
      value,
      unit,
      isMet,
    }) => html`<tr><th scope="row">${what}</th><td data-label="asked">${noBreak(asked)}</td><td data-label="measured">${noBreak(`${formatNumber(value)} ${unit}`)}</td>
<td class="${isMet ? "met" : "unmet"}">${isMet ? "✓ met" : "✗ not met"}</td></tr>`,
  );
  return html`<section class="card" id="claims"><h3>Claims</h3><table class="stacked"><thead><tr><th>what</th><th>asked</th><th>measured</th><th></th></tr></thead>
<tbody>${rows}</tbody></table></section>`;
}

const noBreak = (text: string): string => text.trim().replaceAll(" ", "\u00a0");

function facts({ machine, mode, startedAt, seconds }: Report): Html {
  const entries: [string, string][] = [
    ["machine", machine.name],
    ["processor", `${machine.cpu}, ${machine.cores} ${machine.cores === 1 ? "core" : "cores"}`],
    ["accelerator of the VMs", machine.accelerator],
    ["kernel", machine.kernel],
    ["kernel of the guests", machine.guestKernel],
    ["QEMU", machine.qemu],
    ["Node.js", machine.node],
    ["vhca", `${machine.vhca}, commit ${machine.commit}`],
    ["started", startedAt.replace("T", " ").replace(/(\.\d+)?Z$/, " UTC")],
    ["measured for", formatDuration(seconds)],
    ["mode", mode],
    ["load (processes that wanted to run)", machine.load.map(formatNumber).join(" → ")],
  ];
  const items = entries.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`);
  return html`<section class="card" id="machine"><dl class="facts">${items}</dl></section>`;
}

/** "29 min 4 s" */
export function formatDuration(seconds: number): string {
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

function contents({ figures }: Report): Html | undefined {
  if (figures.length === 0) return undefined;
  const items = figures.map((figure) => html`<li><a href="#${anchorOf(figure)}">${figure.experiment}. ${figure.title}</a></li>`);
  return html`<nav class="card small" aria-label="Figures"><ul>${items}</ul></nav>`;
}

/** The name of an experiment, as a heading. */
export const experimentName = (number: number): string => `${number}. ${EXPERIMENTS[number] ?? "Experiment"}`;

// A report as one HTML page that needs nothing else: no network, no script, no font. Figures are SVG, colours follow the reader's light
// or dark scheme, and what is collapsed on a screen is open on paper.

import { renderFigure } from "./page/figure.ts";
import { experimentName, renderHead } from "./page/head.ts";
import { type Html, html, Html as RawHtml } from "./page/html.ts";
import { STYLE } from "./page/style.ts";
import { withPublished } from "./published.ts";
import type { Report } from "./report.ts";

/** Draws a report. @returns a whole HTML document */
export async function renderPage(measured: Report): Promise<string> {
  const report: Report = { ...measured, figures: measured.figures.map((figure) => withPublished(figure)) };
  const experiments = [...new Set(report.figures.map(({ experiment }) => experiment))].sort((a, b) => a - b);
  const sections: Html[] = [];
  for (const number of experiments) {
    const figures: Html[] = [];
    for (const figure of report.figures)
      if (figure.experiment === number) figures.push(await renderFigure(figure, report.machine));
    sections.push(html`<h2>${experimentName(number)}</h2>${figures}`);
  }
  const day = report.startedAt.slice(0, 10);
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>VMM-bypass I/O on ${report.machine.name}, ${day}</title>
<link rel="icon" href="data:,">
<style>${new RawHtml(STYLE)}</style>
</head>
<body>
<main>
${renderHead(report)}
${sections}
</main>
</body>
</html>
`.text;
}

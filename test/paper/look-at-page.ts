// What must be true of any report's page in a browser: nothing is loaded, nothing complained of, nothing sticks out, one drawing a figure.

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import type { Report } from "../../src/paper/report.ts";

export const WIDTHS = { phone: 390, tablet: 700, desk: 1200 } as const;

/** A page, and whatever went wrong on it or was asked for besides the page itself. */
export interface Opened {
  readonly page: Page;
  readonly complaints: readonly string[];
}

export async function openPage(
  browser: Browser,
  file: string,
  width: number,
  colorScheme: "light" | "dark" = "light",
): Promise<Opened> {
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
  const complaints: string[] = [];
  const address = pathToFileURL(file).href;
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => complaints.push(`dialog ${dialog.message()}`));
  page.on("request", (request) => request.url() !== address && complaints.push(`asks for ${request.url()}`));
  await page.goto(address);
  return { page, complaints };
}

/** Opens the page `file` of a report at a width, with all tables open, and closes it again. */
export async function assertLooksRight(browser: Browser, file: string, report: Report, width: number): Promise<void> {
  const { page, complaints } = await openPage(browser, file, width);
  await page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true");
  const root = "document.documentElement";
  const [needed, there] = await page.evaluate<number[]>(`[${root}.scrollWidth, ${root}.clientWidth]`);
  assert.equal(needed, there, `wider than a screen of ${width}`);
  for (const { id, series } of report.figures) {
    const isDrawn = series.some(({ points }) => points.length > 0);
    const drawings = await page.locator(`#figure-${id} .chart:visible > svg`).all();
    assert.equal(drawings.length, isDrawn ? 1 : 0, id);
    for (const drawing of drawings) {
      const box = await drawing.boundingBox();
      assert.ok(box !== null && box.x >= 0 && box.width > 300 && box.height > 200 && box.x + box.width <= width, id);
    }
  }
  assert.deepEqual(complaints, []);
  await page.close();
}

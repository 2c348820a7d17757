// The page of a report as a browser shows it: nothing is loaded, nothing sticks out, every series can be seen.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Browser, Locator } from "playwright-core";
import { HAND_MADE_REPORT as REPORT } from "../../src/paper/page/hand-made-report.ts";
import { renderPage } from "../../src/paper/page.ts";
import { startChromium, withoutChromium } from "./chromium.ts";
import { assertLooksRight, openPage, WIDTHS } from "./look-at-page.ts";

interface Text {
  readonly text: string;
  readonly isSlanted: boolean;
  readonly box: { readonly x: number; readonly y: number; readonly width: number; readonly height: number };
}

async function textsOf(axis: Locator): Promise<Text[]> {
  const found: Text[] = [];
  for (const each of await axis.locator("text").all()) {
    const box = await each.boundingBox();
    const isSlanted = (await each.getAttribute("transform"))?.includes("rotate") === true;
    if (box !== null) found.push({ text: (await each.textContent()) ?? "", isSlanted, box });
  }
  return found;
}

/** Pairs of texts that touch; of slanted ones, whose boxes always do, those whose ends are less than a line apart. */
function overlapping(texts: readonly Text[]): string[] {
  const touches = ({ box: a, isSlanted }: Text, { box: b }: Text): boolean =>
    isSlanted
      ? Math.abs(a.x + a.width - b.x - b.width) < 14
      : a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
  return texts.flatMap((a, i) =>
    texts
      .slice(i + 1)
      .filter((b) => touches(a, b))
      .map((b) => `${a.text} | ${b.text}`),
  );
}

describe("the page in a browser", { skip: withoutChromium() }, () => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-page-"));
  const file = join(folder, "page.html");
  let browser: Browser;

  before(async () => {
    writeFileSync(file, await renderPage(REPORT));
    browser = await startChromium();
  });

  after(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const [name, width] of Object.entries(WIDTHS))
    test(`on a ${name}: complete, quiet, no wider than the screen, one drawing a figure`, () =>
      assertLooksRight(browser, file, REPORT, width));

  for (const [name, width] of Object.entries(WIDTHS))
    test(`on a ${name}: texts of an axis do not run into each other`, async () => {
      const { page } = await openPage(browser, file, width);
      for (const { id } of REPORT.figures) {
        const axes = page.locator(`#figure-${id} .chart:visible .role-axis-label`);
        for (const axis of await axes.all()) assert.deepEqual(overlapping(await textsOf(axis)), [], id);
      }
      await page.close();
    });

  for (const scheme of ["light", "dark"] as const)
    test(`in ${scheme} colours: without any one of its series a figure looks different`, async () => {
      const { page } = await openPage(browser, file, WIDTHS.desk, scheme);
      for (const { id, series } of REPORT.figures) {
        const chart = page.locator(`#figure-${id} .chart:visible`);
        for (const i of series.keys()) {
          const all = await chart.screenshot();
          const marks = chart.locator(`.series-${i}, .series-${i}-markers`);
          await marks.evaluateAll((groups) => groups.map((group) => group.setAttribute("display", "none")));
          assert.ok(!all.equals(await chart.screenshot()), `${id}, series ${i}`);
          await marks.evaluateAll((groups) => groups.map((group) => group.removeAttribute("display")));
        }
      }
      await page.close();
    });

  test("on paper: what is collapsed is open, in light colours", async () => {
    const { page } = await openPage(browser, file, WIDTHS.desk, "dark");
    await page.emulateMedia({ media: "print" });
    assert.ok(await page.locator("#figure-latency-send pre").first().isVisible());
    assert.equal(await page.evaluate("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)");
    await page.close();
  });
});

// The page of a report as a browser shows it: nothing is loaded, nothing sticks out, every series can be seen.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import type { Browser, Locator, Page } from "playwright-core";
import { HAND_MADE_REPORT as REPORT } from "../../src/paper/page/hand-made-report.ts";
import { renderPage } from "../../src/paper/page.ts";
import { startChromium, withoutChromium } from "./chromium.ts";

const WIDTHS = { phone: 390, tablet: 700, desk: 1200 };

/** A page that is opened for one test. */
interface Opened {
  readonly page: Page;
  /** Whatever went wrong or was asked for besides the page itself. */
  readonly complaints: string[];
}

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

  async function open(width: number, colorScheme: "light" | "dark" = "light"): Promise<Opened> {
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

  for (const [name, width] of Object.entries(WIDTHS))
    test(`on a ${name}: complete, quiet, no wider than the screen, one drawing a figure`, async () => {
      const { page, complaints } = await open(width);
      await page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true");
      const root = "document.documentElement";
      const widths = await page.evaluate<number[]>(`[${root}.scrollWidth, ${root}.clientWidth]`);
      assert.equal(widths[0], widths[1]);
      for (const { id, series } of REPORT.figures) {
        const boxes = await Promise.all(
          (await page.locator(`#figure-${id} .chart:visible > svg`).all()).map((each) => each.boundingBox()),
        );
        assert.equal(boxes.length, series.length === 0 ? 0 : 1, id);
        for (const box of boxes)
          assert.ok(box !== null && box.x >= 0 && box.width > 300 && box.height > 200 && box.x + box.width <= width, id);
      }
      assert.deepEqual(complaints, []);
      await page.close();
    });

  for (const [name, width] of Object.entries(WIDTHS))
    test(`on a ${name}: texts of an axis do not run into each other`, async () => {
      const { page } = await open(width);
      for (const { id } of REPORT.figures) {
        const axes = page.locator(`#figure-${id} .chart:visible .role-axis-label`);
        for (const axis of await axes.all()) assert.deepEqual(overlapping(await textsOf(axis)), [], id);
      }
      await page.close();
    });

  for (const scheme of ["light", "dark"] as const)
    test(`in ${scheme} colours: without any one of its series a figure looks different`, async () => {
      const { page } = await open(WIDTHS.desk, scheme);
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
    const { page } = await open(WIDTHS.desk, "dark");
    await page.emulateMedia({ media: "print" });
    assert.ok(await page.locator("#figure-latency-send pre").first().isVisible());
    assert.equal(await page.evaluate("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)");
    await page.close();
  });
});

// The paper's evaluation as a user calls it, with the least of everything: every figure gets data of every side, a run that was
// interrupted goes on, and the page is there.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { experimentsWith } from "../../src/paper/experiments.ts";
import type { Figure, Report, Series, Side } from "../../src/paper/report.ts";
import { loadReport } from "../../src/paper/store.ts";
import { startChromium, withoutChromium } from "../paper/chromium.ts";
import { assertLooksRight, WIDTHS } from "../paper/look-at-page.ts";
import { whyNoVms } from "./session.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "vhca-paper-"));
const env = { ...process.env, XDG_RUNTIME_DIR: folder };
after(() => rmSync(folder, { recursive: true }));

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `vhca bench paper`; `onLine` hears each line of progress. */
function benchPaper(args: readonly string[], onLine: (line: string, interrupt: () => void) => void = () => {}): Promise<Ran> {
  const words = ["bench", "paper", "--tiny", "--results", folder, ...args];
  const child = spawn(process.execPath, [main, ...words], { env, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
    onLine(String(chunk), () => child.kill("SIGINT"));
  });
  return new Promise((resolve) => child.on("close", (status) => resolve({ status, stdout, stderr })));
}

/** All that the plan wants: figure and side. */
const wanted = experimentsWith().flatMap(({ steps }) =>
  steps.flatMap(({ figures, side, isSlow }) => (isSlow === true ? [] : figures.map((id) => ({ id, side })))),
);

const seriesOf = (figure: Figure | undefined, side: Side): Series[] => figure?.series.filter((each) => each.side === side) ?? [];

describe("vhca bench paper", () => {
  let noVms: string | undefined;
  let report: Report;
  let interrupted: Ran;
  let ran: Ran;
  before(async () => {
    noVms = await whyNoVms();
    if (noVms !== undefined) return;
    interrupted = await benchPaper([], (line, interrupt) => line.includes("latency-send: mapped") && interrupt());
    ran = await benchPaper(["--json"]);
    report = JSON.parse(ran.stdout) as Report;
  });

  test("Ctrl-C ends it with the status of the signal, and it says how to go on", (t) => {
    if (noVms !== undefined) return t.skip(noVms);
    assert.equal(interrupted.status, 130, interrupted.stderr);
    assert.match(interrupted.stderr, /interrupted; the same command goes on from here/);
    assert.match(ran.stderr, /going on with the run that began at/);
  });

  test("every figure has data of every side, and none is missing", (t) => {
    if (noVms !== undefined) return t.skip(noVms);
    assert.equal(ran.status, 0, ran.stderr);
    assert.deepEqual(
      report.figures.flatMap(({ missing }) => missing),
      [],
    );
    for (const { id, side } of wanted) {
      const series = seriesOf(
        report.figures.find((figure) => figure.id === id),
        side,
      );
      assert.ok(series.length > 0, `${id}: ${side}`);
      for (const { points } of series) {
        assert.ok(points.length > 0, `${id}: ${side}`);
        for (const { y, low = y, high = y } of points)
          assert.ok(y > 0 && low <= y && y <= high, `${id}: ${side}: ${low} ${y} ${high}`);
      }
    }
  });

  test("nothing goes through the VMM on the data path; with trapped doorbells everything does", (t) => {
    if (noVms !== undefined) return t.skip(noVms);
    for (const id of ["latency-send", "latency-write", "latency-read", "bandwidth-send", "bandwidth-write"]) {
      const figure = report.figures.find((each) => each.id === id);
      const messages = (side: Side): number => seriesOf(figure, side)[0]?.counts?.messagesPerOperation ?? Number.NaN;
      assert.ok(messages("mapped") < 0.1, `${id}: ${messages("mapped")}`);
      assert.ok(messages("trapped") > 0.3, `${id}: ${messages("trapped")}`);
      if (id !== "bandwidth-send") assert.ok(messages("answered") > 0.3, `${id}: ${messages("answered")}`);
    }
    const events = report.figures.find(({ id }) => id === "events");
    const interrupts = seriesOf(events, "mapped").map(({ label, counts }) => [
      label,
      (counts?.interruptsPerOperation ?? 0) > 0.5,
    ]);
    assert.deepEqual(interrupts, [
      ["polling", false],
      ["blocking", true],
    ]);
  });

  test("the files are there: what was printed, and a page with every figure", async (t) => {
    if (noVms !== undefined) return t.skip(noVms);
    const day = report.startedAt.slice(0, 10);
    const file = join(folder, `paper-${report.machine.name}-${day}-tiny`);
    assert.deepEqual(loadReport(`${file}.json`), report);
    const page = readFileSync(`${file}.html`, "utf8");
    for (const { title } of report.figures) assert.ok(page.includes(title), title);
    const reason = withoutChromium();
    if (reason !== false) return t.diagnostic(`the page was not looked at: ${reason}`);
    const browser = await startChromium();
    t.after(() => browser.close());
    for (const width of Object.values(WIDTHS)) await assertLooksRight(browser, `${file}.html`, report, width);
  });
});

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { countPerOperation } from "./counting.ts";
import { experimentsWith, figureIds, figuresNamed } from "./experiments.ts";
import { describeMachine } from "./machine.ts";
import type { Experiment, FigureSpec, Pair, Place, Step } from "./plan.ts";
import type { Report, Side } from "./report.ts";
import { type RunnerOptions, runPaper } from "./runner.ts";
import { pointsOf } from "./series.ts";
import { findInterrupted, loadReport, reportName, saveReport } from "./store.ts";

const emptyReport = (): Report => ({
  ...{ schema: "vhca.paper/1", mode: "tiny", startedAt: new Date().toISOString(), seconds: 0, isComplete: false },
  ...{ machine: describeMachine(undefined, "1.2.3"), figures: [], claims: [] },
});

const spec = (id: string): FigureSpec => ({
  ...{ id, experiment: 1, title: id, kind: "lines", isLowerBetter: true, notes: [] },
  x: { name: "size", unit: "B", scale: "log" },
  y: { name: "time", unit: "µs", scale: "log" },
});

/** A plan whose steps say in `log` that they ran, and fail where `fails` says so. */
function planOf(log: string[], fails: Set<string>): Experiment {
  const step = (figures: string[], side: Side, place: Place): Step => ({
    ...{ figures, side, place },
    measure: async () => {
      const name = `${figures.join("+")} ${side}`;
      log.push(name);
      if (fails.has(name)) throw new Error(`no ${name}`);
      return figures.map((figure) => ({ figure, series: { points: [{ x: 8, y: log.length }] } }));
    },
  });
  return {
    ...{ number: 1, name: "all", figures: [spec("a"), spec("b"), spec("c")] },
    steps: [
      step(["b"], "trapped", "trapped"),
      step(["a"], "mapped", "mapped"),
      step(["b", "c"], "native", "host"),
      step(["b"], "tcp", "mapped"),
      { ...step(["c"], "rxe", "mapped"), isSlow: true },
    ],
  };
}

interface World {
  readonly log: string[];
  readonly options: RunnerOptions;
  readonly controller: AbortController;
  readonly saved: Report[];
}

function newWorld({ fails = [], figures = ["a", "b", "c"] }: { fails?: string[]; figures?: string[] } = {}): World {
  const log: string[] = [];
  const saved: Report[] = [];
  const controller = new AbortController();
  const failing = new Set(fails);
  const options: RunnerOptions = {
    experiments: [planOf(log, failing)],
    ...{ figures, signal: controller.signal },
    startPair: async (doorbells) => {
      if (failing.has(doorbells)) throw new Error("no VM starts");
      log.push(`boot ${doorbells}`);
      return { stop: async () => void log.push(`stop ${doorbells}`) } as unknown as Pair;
    },
    onReport: (report) => saved.push(structuredClone(report)),
    onProgress: () => {},
    onFailure: (step, why) => log.push(`failed: ${step.side}: ${why}`),
  };
  return { log, options, controller, saved };
}

const sidesOf = (report: Report): Record<string, string[]> =>
  Object.fromEntries(report.figures.map(({ id, series }) => [id, series.map(({ side }) => side)]));

describe("the runner of the evaluation", () => {
  test("a tiny run leaves out what is slow, a full one does not", async () => {
    const [tiny, full] = [newWorld(), newWorld()];
    await runPaper(emptyReport(), tiny.options);
    await runPaper({ ...emptyReport(), mode: "full" }, full.options);
    assert.deepEqual(
      [tiny, full].map(({ log }) => log.includes("c rxe")),
      [false, true],
    );
  });

  test("goes from place to place, boots guests once for each, and fills figures in their order", async () => {
    const { log, options, saved } = newWorld();
    const report = emptyReport();
    await runPaper(report, options);
    const mapped = ["boot mapped", "a mapped", "b tcp", "stop mapped"];
    assert.deepEqual(log, ["b+c native", ...mapped, "boot trapped", "b trapped", "stop trapped"]);
    assert.deepEqual(sidesOf(report), { a: ["mapped"], b: ["native", "trapped", "tcp"], c: ["native"] });
    assert.equal(report.isComplete, true);
    // After each step, and in the end.
    assert.deepEqual(
      saved.map(({ isComplete }) => isComplete),
      [false, false, false, false, true],
    );
  });

  test("measures nothing twice: a run that was interrupted goes on, and boots only what it needs", async () => {
    const first = newWorld();
    const report = emptyReport();
    first.options.experiments[0]?.steps.forEach((step, i) => {
      if (step.side !== "tcp") return;
      (first.options.experiments[0]?.steps as Step[])[i] = {
        ...step,
        measure: async () => {
          first.controller.abort(new Error("Ctrl-C"));
          throw new Error("cut off");
        },
      };
    });
    await assert.rejects(runPaper(report, first.options), /Ctrl-C/);
    assert.equal(first.log.at(-1), "stop mapped");
    assert.deepEqual(sidesOf(report), { a: ["mapped"], b: ["native"], c: ["native"] });
    assert.equal(report.isComplete, false);

    const second = newWorld();
    await runPaper(report, second.options);
    assert.deepEqual(second.log, ["boot mapped", "b tcp", "stop mapped", "boot trapped", "b trapped", "stop trapped"]);
    assert.equal(report.isComplete, true);

    const third = newWorld();
    await runPaper(report, third.options);
    assert.deepEqual(third.log, []);
  });

  test("goes on when a step fails or guests do not start, says why, and is not complete", async () => {
    const { log, options } = newWorld({ fails: ["b+c native", "trapped"] });
    const report = emptyReport();
    await runPaper(report, options);
    assert.ok(log.includes("failed: native: no b+c native") && log.includes("failed: trapped: no VM starts"), log.join("\n"));
    assert.deepEqual(sidesOf(report), { a: ["mapped"], b: ["tcp"], c: [] });
    assert.deepEqual(
      report.figures.find(({ id }) => id === "b")?.missing.map(({ side, why }) => `${side}: ${why}`),
      ["native: no b+c native", "trapped: no VM starts"],
    );
    assert.equal(report.isComplete, false);

    await runPaper(report, newWorld().options);
    assert.deepEqual(report.figures.map(({ missing }) => missing.length).join(), "0,0,0");
    assert.equal(report.isComplete, true);
  });

  test("fills only the figures that were asked for, with all that their steps give", async () => {
    const { log, options } = newWorld({ figures: ["c"] });
    const report = emptyReport();
    await runPaper(report, options);
    assert.deepEqual(log, ["b+c native"]);
    assert.equal(report.isComplete, true);
  });
});

describe("reports on disk", () => {
  const inFolder = (work: (folder: string) => void): void => {
    const folder = mkdtempSync(join(tmpdir(), "vhca-paper-"));
    try {
      work(folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  };

  test("come back as they were written, and only whole ones", () =>
    inFolder((folder) => {
      const report = emptyReport();
      const file = saveReport(folder, report);
      assert.deepEqual(loadReport(file), report);
      assert.deepEqual(readdirSync(folder), [`${reportName(report)}.json`]);
      writeFileSync(file, '{"schema":"vhca.paper/1","mode":"tiny"}');
      assert.throws(() => loadReport(file), /is no report of vhca bench paper: startedAt/);
    }));

  test("an interrupted run is found by what it is: mode, figures, machine, commit, age", () =>
    inFolder((folder) => {
      const report = emptyReport();
      saveReport(folder, report);
      writeFileSync(join(folder, "paper-broken.json"), "{");
      const now = Date.parse(report.startedAt) + 1000;
      const find = (change: Partial<Report>, at = now): Report | undefined =>
        findInterrupted(folder, { ...report, ...change }, at);
      assert.deepEqual(find({}), report);
      assert.equal(find({ mode: "full" }), undefined);
      assert.equal(find({ only: ["a"] }), undefined);
      assert.equal(find({ machine: { ...report.machine, commit: "another" } }), undefined);
      assert.equal(find({}, now + 25 * 3_600_000), undefined);
      saveReport(folder, { ...report, isComplete: true });
      assert.equal(find({}), undefined);
    }));
});

describe("figures and numbers", () => {
  test("every experiment of the paper has figures, and every figure has steps", () => {
    const experiments = experimentsWith({ folder: "sources", problemClass: "S" });
    assert.deepEqual(
      experiments.map(({ number }) => number),
      [1, 2, 3, 4, 5, 6, 7],
    );
    for (const { number, name, figures, steps } of experiments) {
      for (const { id, experiment } of figures) {
        assert.equal(experiment, number);
        assert.ok(
          steps.some((step) => step.figures.includes(id)),
          id,
        );
      }
      assert.deepEqual(
        figuresNamed(experiments, name),
        figures.map(({ id }) => id),
      );
      assert.deepEqual(figuresNamed(experiments, String(number)), figuresNamed(experiments, name));
    }
    assert.equal(new Set(figureIds(experiments)).size, figureIds(experiments).length);
    assert.deepEqual(figuresNamed(experiments, "latency-send"), ["latency-send"]);
    assert.deepEqual(figuresNamed(experiments, "nothing"), []);
  });

  test("points are medians with their extremes", () => {
    const samples = [3, 1, 2, 10].map((y) => ({ x: 8, y }));
    assert.deepEqual(pointsOf([{ x: 64, y: 5 }, ...samples]), [
      { x: 8, y: 2.5, low: 1, high: 10, samples: 4 },
      { x: 64, y: 5, low: 5, high: 5, samples: 1 },
    ]);
  });

  test("what a program costs at its start is not counted to its operations", async () => {
    const tally = { messages: 7, interrupts: 3 };
    const run = async (operations: number): Promise<void> => {
      tally.messages += 500 + operations * 2;
      tally.interrupts += 100;
    };
    assert.deepEqual(await countPerOperation(async () => ({ ...tally }), run, { short: 100, long: 300 }), {
      ...{ operations: 200, messagesPerOperation: 2, interruptsPerOperation: 0 },
    });
  });
});

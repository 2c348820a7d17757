// Guests when things get rough: drivers that come and go, guests that die under load, a guest that attacks. Short by itself;
// `npm run endurance` does the same for long. All in one lab of three: n1 and n2 are the pair that must not notice.

import { test } from "node:test";
import { startSession } from "../vm/session.ts";
import { assertQuietKernels, type ProcessFigures } from "./figures.ts";
import { sufferHostility } from "./hostile.ts";
import { killOften } from "./kill.ts";
import { isLong, say, sayTable, seeded, shortOrLong } from "./long-runs.ts";
import { reloadOften, useIntx } from "./reload.ts";

const RELOADS = shortOrLong(3, 100);
const KILLS = shortOrLong(3, 50);
const HOSTILE_SECONDS = shortOrLong(10, 60);

/** ENDURANCE_ONLY: only the parts whose name contains it. */
const only = process.env.ENDURANCE_ONLY ?? "";

const figuresRow = (what: string, { ownMiB, mappedMiB, mappings, descriptors }: ProcessFigures): (string | number)[] => [
  what,
  ownMiB,
  mappedMiB,
  mappings,
  descriptors,
];

test("guests when things get rough", async (t) => {
  const session = await startSession(t, { nodes: 3 });
  if (session === undefined) return;
  const random = seeded("endurance");
  const figures: (string | number)[][] = [];
  const part = (name: string, body: () => Promise<void>): Promise<void> =>
    t.test(name, { skip: name.includes(only) ? false : `not asked for (ENDURANCE_ONLY=${only})` }, body);

  await part(`the driver reloaded ${RELOADS} times`, async () => {
    const [before, after] = await reloadOften(session, RELOADS);
    figures.push(figuresRow("before the reloads", before), figuresRow(`after ${RELOADS}`, after));
    await assertQuietKernels(session, ["n1", "n2", "n3"]);
  });

  await part("the driver with INTx instead of MSI-X", async () => {
    await useIntx(session);
    await assertQuietKernels(session, ["n1"]);
  });

  await part(`a guest killed ${KILLS} times under load`, async () => {
    const { pairRuns, before, after } = await killOften(session, KILLS, random);
    say(`${KILLS} kills, ${pairRuns} runs of the pair`);
    figures.push(figuresRow("before the kills", before), figuresRow(`after ${KILLS}`, after));
    await assertQuietKernels(session, ["n1", "n2", "n3"]);
  });

  await part(`a hostile guest for ${HOSTILE_SECONDS} s`, async () => {
    const { alone, besideHonest, besideHostile, deeds } = await sufferHostility(session, HOSTILE_SECONDS, random);
    for (const line of deeds.split("\n")) say(`hostile guest: ${line}`);
    const row = (what: string, { runs, mibPerSecond }: typeof alone): (string | number)[] => [what, runs, median(mibPerSecond)];
    sayTable(
      ["the pair", "runs", "MiB/s"],
      [row("alone", alone), row("beside an honest one", besideHonest), row("beside a hostile one", besideHostile)],
    );
    await assertQuietKernels(session, ["n1", "n2"]);
  });

  if (isLong && figures.length > 0)
    sayTable(["the domain's process", "own MiB", "mapped MiB", "mappings", "descriptors"], figures);
});

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

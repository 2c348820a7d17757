// Two VMs at opposite ends of a fat tree of three levels, unmodified programs between them, and cables on their way that are pulled or lose
// packets: reliable connections neither lose nor double a byte.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Session } from "../../src/cli/session.ts";
import { exchange, run, serverAndClient, startSession } from "./session.ts";

/** The cable between the second and the third switch from n1 to n2, as NODE:PORT, or undefined while there is no way. */
async function cableOnTheWay({ domain }: Session): Promise<string | undefined> {
  const { hops, problem } = await domain.fabric.path("n1", "n2");
  if (problem !== undefined) return undefined;
  assert.equal(hops.length, 7, "three levels up and down");
  return `${hops[2]?.node}:${hops[2]?.out}`;
}

async function eventually<T>(ask: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await sleep(5);
  }
}

/** Pulls the cable that is on the way, waits until there is another way, plugs it in again; as long as `work` lasts. */
async function pullCables(session: Session, work: Promise<unknown>): Promise<number> {
  let isOver = false;
  const note = (): void => {
    isOver = true;
  };
  work.then(note, note);
  let pulled = 0;
  while (!isOver) {
    const cable = await eventually(() => cableOnTheWay(session));
    await session.domain.fabric.changeLink(cable, { isPlugged: false });
    const other = await eventually(() => cableOnTheWay(session));
    assert.notEqual(other, cable);
    pulled++;
    await sleep(150);
    await session.domain.fabric.changeLink(cable, { isPlugged: true });
    await sleep(150);
  }
  return pulled;
}

const TRIALS = 5;

/**
 * As `serverAndClient`, over cables that lose packets. `ibv_rc_pingpong` ends without waiting for its peer: where the server has everything and
 * only the answer to the client's last message was lost, the client asks a queue pair that is gone (as with any HCA). Both are then run again.
 */
async function overLoss(session: Session, server: string, client: string): Promise<void> {
  for (let trial = 1; ; trial++) {
    try {
      await serverAndClient(session, server, client);
      return;
    } catch (error) {
      if (trial === TRIALS || !(error instanceof assert.AssertionError) || !LAST_ANSWER_LOST.test(error.message)) throw error;
    }
  }
}

/** The client's sends, wr_id 2 of `ibv_rc_pingpong`, were not answered; the server got and verified all that it waits for. */
const LAST_ANSWER_LOST = /retry counter exceeded \(12\) for wr_id 2\n.*\nn1: ibv_rc_pingpong [^\n]*: status 0\n/s;

test("cables on the way of two VMs", async (t) => {
  const session = await startSession(t, { nodes: 2, topology: exchange("fat-tree:4", "n2", "n16") });
  if (session === undefined) return;
  const { fabric } = session.domain;

  for (const [server, client] of [
    ["ibv_rc_pingpong -c -s 16384 -n 2000", "ibv_rc_pingpong -c -s 16384 -n 2000 n1"],
    ["rping -s -C 1000 -S 8192 -v >/dev/null", "rping -c -a n1-ib -C 1000 -S 8192 -V -v | tail -1"],
    ["ib_write_bw -n 20000", "ib_write_bw -n 20000 n1"],
  ] as const) {
    await t.test(`pulled again and again under ${client}`, async (t) => {
      const work = overLoss(session, server, client);
      const pulled = await pullCables(session, work);
      await work;
      t.diagnostic(`${pulled} cables pulled`);
      assert.ok(pulled > 0);
    });
  }

  await t.test("nothing was lost for good: the way is whole, IP goes over it", async () => {
    assert.match(await run(session, "n1", "ping -c 3 -i 0.2 n2-ib"), / 0% packet loss/);
  });

  await t.test("an HCA that is frozen answers nobody; a subnet without its manager goes on", async () => {
    const { lid } = (await session.describe()).hcas[1] ?? {};
    const query = `smpquery nodeinfo ${lid}`;
    await run(session, "n1", query);
    await session.domain.faults.inject({ kind: "freeze", hca: "n2" });
    const { status } = await session.lab.node("n1").exec(query, { timeoutMs: 60_000 });
    assert.notEqual(status, 0);
    await session.domain.faults.inject({ kind: "clear", what: "n2" });
    await run(session, "n1", query);
    await session.domain.faults.inject({ kind: "sm" });
    assert.notEqual((await session.lab.node("n1").exec("sminfo", { timeoutMs: 60_000 })).status, 0);
    await serverAndClient(session, "ibv_rc_pingpong -c -n 100", "ibv_rc_pingpong -c -n 100 n1");
    const { active, counts } = await session.domain.faults.inject({ kind: "clear" });
    assert.deepEqual([active, counts.freezes, counts.managerDeaths], [[], 1, 1]);
    assert.match(await run(session, "n1", "sminfo"), /SMINFO_MASTER/);
  });

  // rping's connections wait two seconds for an answer that is lost.
  for (const [loss, pingpongs, rpings] of [
    [0.001, 1000, 50],
    [0.01, 200, 15],
    [0.1, 30, 4],
  ] as const) {
    await t.test(`a cable that loses ${loss * 100} % of the packets`, async (t) => {
      const cable = await eventually(() => cableOnTheWay(session));
      await fabric.changeLink(cable, { faults: { loss } });
      const pingpong = `ibv_rc_pingpong -c -s 16384 -n ${pingpongs}`;
      await overLoss(session, pingpong, `${pingpong} n1`);
      const rping = `-C ${rpings} -S 8192 -v >/dev/null`;
      await serverAndClient(session, `rping -s ${rping}`, `rping -c -a n1-ib -V ${rping}`);
      assert.equal(await cableOnTheWay(session), cable);
      const { counts } = await fabric.changeLink(cable, { faults: null });
      t.diagnostic(JSON.stringify(counts));
      assert.ok(counts.lost > 0);
    });
  }
});

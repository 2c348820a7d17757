// An administrator in one guest takes the other's port down and up, resets it and changes its LID; ibv_asyncwatch there prints what
// the verbs programs of that guest are told (IBA 11.6.3.3; LID changes and re-registrations are found by the driver, in the SMPs).

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { Session } from "../../src/cli/session.ts";
import { run } from "../vm/session.ts";
import { hcaOf, waitUntilJoined } from "./wait.ts";

const SWITCH_LID = 1;
const OTHER_LID = 0x40;
const POLL_MS = 300;
const POLLS = 100;

/** The events that n1's asyncwatch prints in the course of all this; fails if one is missing. */
export async function watchPort(session: Session): Promise<string[]> {
  const port = /^\[(\d+)\].*"n1 /m.exec(await run(session, "n2", "ibnetdiscover"))?.[1];
  assert.ok(port, "n1 is on the switch");
  await run(session, "n1", "stdbuf -oL ibv_asyncwatch >/tmp/events 2>&1 & sleep 1; grep mthca0 /tmp/events");

  await run(session, "n2", `ibportstate ${SWITCH_LID} ${port} disable`);
  const down = await eventsFrom(session, 0, ["PORT_ERR"]);
  await run(session, "n1", "ibstat | grep 'State: Down'");
  await run(session, "n2", `ibportstate ${SWITCH_LID} ${port} enable`);
  const up = await eventsFrom(session, down.length, ["PORT_ACTIVE", "CLIENT_REREGISTER"]);
  await waitUntilJoined(session, "n1");

  let seen = down.length + up.length;
  await run(session, "n2", `ibportstate ${SWITCH_LID} ${port} reset`);
  const reset = await eventsFrom(session, seen, ["PORT_ERR", "PORT_ACTIVE", "CLIENT_REREGISTER"]);
  await waitUntilJoined(session, "n1");

  seen += reset.length;
  const { lid } = await hcaOf(session, "n1");
  for (const next of [OTHER_LID, lid]) await run(session, "n2", `ibportstate -D 0,1,${port} 1 lid ${next}`);
  const change = await eventsFrom(session, seen, ["LID_CHANGE", "LID_CHANGE"]);
  await waitUntilJoined(session, "n1");
  await run(session, "n1", "pkill ibv_asyncwatch");
  return [...down, ...up, ...reset, ...change];
}

/** What asyncwatch has printed after its first `count` events, as soon as these are among it, in any order but each as often. */
async function eventsFrom(session: Session, count: number, wanted: readonly string[]): Promise<string[]> {
  let events: string[] = [];
  for (let i = 0; i < POLLS; i++) {
    const text = await run(session, "n1", "cat /tmp/events");
    events = [...text.matchAll(/IBV_EVENT_(\w+)/g)].map(([, event]) => event ?? "").slice(count);
    const left = [...events];
    const isThere = (event: string): boolean => left.includes(event) && left.splice(left.indexOf(event), 1).length === 1;
    if (wanted.every(isThere)) return events;
    await sleep(POLL_MS);
  }
  assert.fail(`asyncwatch printed ${events.join(", ") || "nothing"}; expected ${wanted.join(", ")}`);
}

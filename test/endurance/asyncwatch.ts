// An administrator in one guest takes the other's port down and up, resets it and changes its LID; ibv_asyncwatch there prints what
// the verbs programs of that guest are told (IBA 11.6.3.3; LID changes and re-registrations are found by the driver, in the SMPs).

import assert from "node:assert/strict";
import type { Session } from "../../src/cli/session.ts";
import { run } from "../vm/session.ts";
import { hcaOf, waitUntilJoined } from "./wait.ts";

const SWITCH_LID = 1;
const OTHER_LID = 0x40;

/** The events that n1's asyncwatch prints in the course of all this; fails if one is missing. */
export async function watchPort(session: Session): Promise<string[]> {
  const port = /^\[(\d+)\].*"n1 /m.exec(await run(session, "n2", "ibnetdiscover"))?.[1];
  assert.ok(port, "n1 is on the switch");
  await run(session, "n1", "stdbuf -oL ibv_asyncwatch >/tmp/events 2>&1 & sleep 1");
  const first = await run(session, "n1", "cat /tmp/events");
  assert.match(first, /mthca0/);

  await run(session, "n2", `ibportstate ${SWITCH_LID} ${port} disable`);
  await run(session, "n1", "for i in $(seq 100); do ibstat | grep -q 'State: Down' && exit 0; sleep 0.1; done; exit 1");
  await run(session, "n2", `ibportstate ${SWITCH_LID} ${port} enable`);
  await waitUntilJoined(session, "n1");
  const flap = await eventsSince(session, 0);
  assert.deepEqual(flap.slice(0, 2), ["PORT_ERR", "PORT_ACTIVE"]);
  assert.ok(flap.includes("CLIENT_REREGISTER"), flap.join());

  await run(session, "n2", `ibportstate ${SWITCH_LID} ${port} reset`);
  await waitUntilJoined(session, "n1");
  const reset = await eventsSince(session, flap.length);
  assert.deepEqual(reset.slice(0, 2), ["PORT_ERR", "PORT_ACTIVE"]);

  const { lid } = await hcaOf(session, "n1");
  for (const next of [OTHER_LID, lid]) await run(session, "n2", `ibportstate -D 0,1,${port} 1 lid ${next}`);
  await waitUntilJoined(session, "n1");
  const change = await eventsSince(session, flap.length + reset.length);
  assert.equal(change.filter((event) => event === "LID_CHANGE").length, 2, change.join());
  await run(session, "n1", "pkill ibv_asyncwatch");
  return [...flap, "/", ...reset, "/", ...change];
}

/** What asyncwatch has printed after the first `count` events, when it has had a second for it. */
async function eventsSince(session: Session, count: number): Promise<string[]> {
  const text = await run(session, "n1", "sleep 1; cat /tmp/events");
  return [...text.matchAll(/IBV_EVENT_(\w+)/g)].map(([, event]) => event ?? "").slice(count);
}

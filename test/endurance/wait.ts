// Waiting for what a guest or the domain gets to in its own time.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { Session } from "../../src/cli/session.ts";
import type { HcaView } from "../../src/domain/plugged-hca.ts";
import { run } from "../vm/session.ts";

const POLL_MS = 50;

/** Shell: waits until the port is active and IPoIB has joined its group. */
export const UNTIL_JOINED =
  "for i in $(seq 300); do [ \"$(cat /sys/class/net/ib0/carrier 2>/dev/null)\" = 1 ] && ibstat | grep -q 'State: Active' && exit 0; sleep 0.1; done; exit 1";

/** A node's HCA as the domain sees it now. */
export async function hcaOf(session: Session, node: string): Promise<HcaView> {
  const hca = (await session.describe()).hcas.find(({ name }) => name === node);
  assert.ok(hca, `there is an HCA ${node}`);
  return hca;
}

/** Polls until `isSo`; false if `hasEnded` comes first. */
export async function waitUntil(isSo: () => Promise<boolean>, hasEnded: () => boolean): Promise<boolean> {
  while (!hasEnded()) {
    if (await isSo()) return true;
    await sleep(POLL_MS);
  }
  return false;
}

/** Fails unless the node's port is active and IPoIB works within half a minute. */
export async function waitUntilJoined(session: Session, node: string): Promise<void> {
  await run(session, node, UNTIL_JOINED);
}

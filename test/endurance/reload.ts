// The driver unloaded and loaded again, many times: each life of it must leave nothing behind in the device.

import assert from "node:assert/strict";
import type { Session } from "../../src/cli/session.ts";
import { run } from "../vm/session.ts";
import { assertNoGrowth, objectsOf, type ProcessFigures, processFigures } from "./figures.ts";
import { isLong, say } from "./long-runs.ts";
import { pairText, runPair } from "./pairs.ts";
import { waitUntilJoined } from "./wait.ts";

/** Data after every so many reloads. */
const DATA_EVERY = isLong ? 10 : 1;
/** The first lives of the driver compile code and fill tables that stay: figures are taken after them. */
const WARM_UP = 2;

/** One life of the driver ends and the next one begins; `options` are the module's. */
export async function reloadDriver(session: Session, node: string, options = ""): Promise<void> {
  await run(session, node, "modprobe -r ib_ipoib rdma_ucm ib_mthca");
  const left = await objectsOf(session, node);
  for (const [kind, count] of Object.entries(left)) assert.equal(count, 0, `${kind} after the driver is gone`);
  await run(session, node, `modprobe ib_mthca ${options} && modprobe ib_ipoib && modprobe rdma_ucm`);
  await waitUntilJoined(session, node);
}

/** Data in both kinds of waiting, checked by the program itself. */
export async function assertData(session: Session, nodes: readonly [string, string], options = ""): Promise<void> {
  const [server, client] = nodes;
  const program = `ibv_rc_pingpong -c -n 200 ${options}`;
  const outcome = await runPair(session, program, `${program} ${server}`, { nodes: [server, client] });
  assert.deepEqual([outcome.client.status, outcome.server.status], [0, 0], pairText(outcome));
}

/** Reloads the driver of n1 `times` times beside n2; figures before and after. */
export async function reloadOften(session: Session, times: number): Promise<[ProcessFigures, ProcessFigures]> {
  for (let i = 0; i < WARM_UP; i++) await reloadDriver(session, "n1");
  await assertData(session, ["n1", "n2"]);
  const before = processFigures();
  const objects = await objectsOf(session, "n1");
  for (let i = 1; i <= times; i++) {
    await reloadDriver(session, "n1");
    assert.deepEqual(await objectsOf(session, "n1"), objects, `reload ${i}: each life of the driver makes the same objects`);
    await run(session, "n1", "ibv_devinfo | grep PORT_ACTIVE");
    if (i % DATA_EVERY === 0) {
      await assertData(session, ["n1", "n2"]);
      say(`reload ${i} of ${times}: data moved; ${JSON.stringify(processFigures())}`);
    }
  }
  const after = processFigures();
  assertNoGrowth(before, after);
  return [before, after];
}

/** The driver with the PCI pin instead of MSI-X: programs that wait for events get them. */
export async function useIntx(session: Session): Promise<void> {
  const interrupts = async (): Promise<number> => {
    const lines = (await run(session, "n1", "cat /proc/interrupts")).split("\n").filter((line) => line.includes("mthca"));
    assert.equal(lines.length, 1, `one line, not the three of MSI-X:\n${lines.join("\n")}`);
    assert.match(lines[0] ?? "", /IO-APIC/);
    return Number(/:\s+(\d+)/.exec(lines[0] ?? "")?.[1]);
  };
  await reloadDriver(session, "n1", "msi_x=0");
  const before = await interrupts();
  await assertData(session, ["n1", "n2"], "-e");
  assert.ok((await interrupts()) > before, "events came by the pin");
  await reloadDriver(session, "n1");
}

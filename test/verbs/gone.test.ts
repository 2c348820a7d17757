// A device domain that ends or takes an HCA away: what waits is told, what is left can be put away.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { silentLog } from "../../src/base/log.ts";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import { openDevice } from "../../src/verbs/index.ts";
import { refusal } from "./worlds.ts";

test("an HCA that is taken away: waits end with ENODEV, objects can be destroyed, the rest is refused", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-gone-"));
  const domain = new DomainHandle({ log: silentLog });
  const socketPath = join(folder, "n1");
  await domain.addHca({ name: "n1", socketPath });
  const context = openDevice(socketPath, { memoryBytes: 8 << 20, mtts: 4096 });
  await context.portActive();
  const pd = context.allocPd();
  const cq = context.createCq(10);
  const qp = pd.createQp({ qpType: "UD", sendCq: cq, recvCq: cq });
  const waiting = cq.next();
  const told = assert.rejects(waiting, refusal("ENODEV", /gone away while waiting for a completion of CQ/));
  assert.equal(await domain.removeHca("n1"), true);
  await told;
  assert.equal(context.isGone, true);
  assert.throws(() => context.createCq(1), refusal("ENODEV", /SW2HW_MPT: the device has gone away/));
  assert.throws(() => qp.modify({ qpState: "INIT", pkeyIndex: 0, portNum: 1, qkey: 1 }), refusal("ENODEV", /gone away/));
  for (const object of [qp, cq, pd]) object.destroy();
  context.close();
  assert.throws(() => openDevice(socketPath), { code: "ENOENT" });
  await domain.stop();
  rmSync(folder, { recursive: true, force: true });
});

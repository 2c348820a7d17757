// The engine of a domain whose clients may need all cores: it changes cores while somebody polls, and not for those who sleep (decision 6).

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { silentLog } from "../../src/base/log.ts";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import { ALL_ACCESS, type Context, connectQp, newWorkCompletions, openDevice, SendFlag } from "../../src/verbs/index.ts";

/** Where hopping does not pay, it is tried once in sixteen messages. */
const MESSAGES = 160;
const MEMORY = { memoryBytes: 4 << 20, mtts: 4096 };
const VERBS = new URL("../../src/verbs/index.ts", import.meta.url).href;

function newSide(context: Context) {
  const pd = context.allocPd();
  const cq = context.createCq(64);
  const memory = context.allocMemory(4096);
  const mr = pd.regMr(memory, ALL_ACCESS);
  const qp = pd.createQp({ qpType: "RC", sendCq: cq, recvCq: cq });
  const destroy = (): void => {
    for (const object of [qp, mr, memory, cq, pd]) object.destroy();
    context.close();
  };
  return { cq, mr, qp, lid: context.queryPort().lid, destroy };
}

/** A second client, which is all the same to the engine's reckoning: it holds an HCA and does nothing. */
async function openElsewhere(socketPath: string): Promise<() => Promise<void>> {
  const program = `import { openDevice } from "${VERBS}";
    const context = await openDevice("${socketPath}", ${JSON.stringify(MEMORY)});
    console.log("open", context.queryPort().state);
    process.stdin.resume();`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["pipe", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return async () => {
    child.kill();
    await once(child, "close");
  };
}

/** How often the engine of a domain on so many cores hops while messages are polled for, and while they are waited for. */
async function hopsOn(cores: number): Promise<{ polled: number; waited: number }> {
  const folder = mkdtempSync(join(tmpdir(), "vhca-hops-"));
  const domain = new DomainHandle({ log: silentLog, cores });
  const pathOf = (name: string): string => join(folder, name);
  for (const name of ["h1", "h2", "h3"]) await domain.addHca({ name, socketPath: pathOf(name) });
  const closeOther = await openElsewhere(pathOf("h3"));
  const contexts = [await openDevice(pathOf("h1"), MEMORY), await openDevice(pathOf("h2"), MEMORY)] as const;
  try {
    for (const context of contexts) await context.portActive();
    const [a, b] = [newSide(contexts[0]), newSide(contexts[1])];
    connectQp(a.qp, { lid: b.lid, qpNum: b.qp.qpNum });
    connectQp(b.qp, { lid: a.lid, qpNum: a.qp.qpNum });
    const hops = async (): Promise<number> => (await domain.describe()).engine.hops ?? Number.NaN;
    const write = { opcode: "RDMA_WRITE", remoteAddr: b.mr.addr, rkey: b.mr.rkey } as const;
    const sgList = [{ addr: a.mr.addr, length: 8, lkey: a.mr.lkey }];
    const wcs = newWorkCompletions(1);
    const writeSome = async (arm: () => void): Promise<void> => {
      for (let i = 0; i < MESSAGES; i++) {
        arm();
        a.qp.postSend({ ...write, sgList, sendFlags: SendFlag.SIGNALED });
        while (a.cq.poll(wcs) === 0);
        await sleep(2);
      }
    };
    const before = await hops();
    await writeSome(() => {});
    const between = await hops();
    await writeSome(() => a.cq.reqNotify());
    const waited = (await hops()) - between;
    for (const end of [a, b]) end.destroy();
    return { polled: between - before, waited };
  } finally {
    await closeOther();
    await domain.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

test("with as many clients as cores the engine hops while they poll, and not after an interrupt", async () => {
  const { polled, waited } = await hopsOn(2);
  assert.ok(polled > 5, `${polled} hops while it polls`);
  // One whose completion is there before the engine has seen that it is to interrupt counts as polled.
  assert.ok(waited < polled / 2, `${waited} hops while it waits, ${polled} while it polls`);
});

test("with a core to itself it stays", async () => assert.deepEqual(await hopsOn(3), { polled: 0, waited: 0 }));

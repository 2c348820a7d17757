// Stopping a guest into a file and starting it from there, over QMP. QEMU, docs/devel/migration/main.rst. The guest's memory is not in
// that file: it is a memfd of ours, which we copy ourselves (host/sparse.ts); docs/decisions/0007.

import type { Qmp } from "./qmp.ts";

const POLL_MS = 10;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function leaveMemoryAlone(qmp: Qmp): Promise<void> {
  await qmp.execute("migrate-set-capabilities", { capabilities: [{ capability: "x-ignore-shared", state: true }] });
}

interface MigrationInfo {
  readonly status?: string;
  readonly "error-desc"?: string;
}

async function untilCompleted(qmp: Qmp): Promise<void> {
  for (;;) {
    const info = (await qmp.execute("query-migrate")) as MigrationInfo;
    if (info.status === "completed") return;
    if (info.status === "failed") throw new Error(`QEMU: migration failed: ${info["error-desc"] ?? "no reason given"}`);
    await sleep(POLL_MS);
  }
}

/** Stops the guest and writes all of it but its memory to a file. @throws if QEMU cannot, with its words */
export async function saveGuest(qmp: Qmp, file: string): Promise<void> {
  await qmp.execute("stop");
  await leaveMemoryAlone(qmp);
  await qmp.execute("migrate", { uri: `file:${file}` });
  await untilCompleted(qmp);
}

/** Fills all but the memory of a guest that was started with `-incoming defer`; it is stopped then. @throws if the file does not fit, with QEMU's words */
export async function loadGuest(qmp: Qmp, file: string): Promise<void> {
  await leaveMemoryAlone(qmp);
  await qmp.execute("migrate-incoming", { uri: `file:${file}` });
  await untilCompleted(qmp);
}

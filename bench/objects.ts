// What the objects of HCAs cost the device domain: fills HCAs of a domain of its own up to their quotas, over their sockets, and prints
// the memory of the domain's process. Run it with: node bench/objects.ts [HCAS] [MAIN],
// where MAIN is another program than src/cli/main.ts, such as dist/src/cli/main.js.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findDomains } from "../src/cli/domains.ts";
import type { Status } from "../src/control/api.ts";
import { SocketAccess } from "../src/driver/backends/socket-access.ts";
import { DEFAULT_QUOTA } from "../src/hca/limits.ts";
import { Command, InitHca, QP_CONTEXT_AT } from "../src/spec/hca/commands.ts";
import { AddressPath, CqContext, Mpt, PRIMARY_PATH_AT, QpContext, SrqContext } from "../src/spec/hca/contexts.ts";
import { Bar0 } from "../src/spec/hca/registers.ts";

const MAIN = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));
const GO = 1 << 23;
const MEMORY_BYTES = 1 << 20;
const STATUS_SHIFT = 24;

type Fill = (view: DataView) => void;

/** A driver that knows only how to issue commands. */
class CommandsOnly {
  readonly #access: SocketAccess;

  constructor(path: string) {
    this.#access = new SocketAccess(path, MEMORY_BYTES);
    this.#access.writeRegister(Bar0.RESET, 1);
  }

  /** Issues one command with a mailbox that `fill` has written; returns its status. */
  run(opcode: number, modifier = 0, fill: Fill = () => {}): number {
    const { memory, dmaBase } = this.#access;
    memory.bytes.fill(0, 0, 512);
    fill(memory.view);
    const words = [0, dmaBase, modifier, 0, dmaBase + 4096, 0, GO | opcode];
    for (const [i, word] of words.entries()) this.#access.writeRegister(Bar0.HCR + 4 * i, word >>> 0);
    for (;;) {
      const last = this.#access.readRegister(Bar0.HCR + 24);
      if ((last & GO) === 0) return last >>> STATUS_SHIFT;
    }
  }

  /** Creates objects until the device refuses; returns how many there are. */
  fill(opcode: number, fill: (index: number) => Fill): number {
    let count = 0;
    while (this.run(opcode, count, fill(count)) === 0) count++;
    return count;
  }

  close(): void {
    this.#access.close();
  }
}

const region =
  (index: number): Fill =>
  (view) => {
    view.setUint32(0, 1 << 10);
    Mpt.region.set(view, 0, 1);
    Mpt.key.set(view, 0, index);
    Mpt.length.lo.set(view, 0, 4096);
  };
const queuePair = (): Fill => (view) => {
  AddressPath.port.set(view, QP_CONTEXT_AT + PRIMARY_PATH_AT, 1);
  QpContext.usrPage.set(view, QP_CONTEXT_AT, 1);
  QpContext.logSqStride.set(view, QP_CONTEXT_AT, 2);
  QpContext.logRqStride.set(view, QP_CONTEXT_AT, 2);
};

/** Starts the HCA with the largest tables and fills them. */
function fillHca(path: string): { driver: CommandsOnly; counts: number[] } {
  const driver = new CommandsOnly(path);
  driver.run(Command.RUN_FW);
  driver.run(Command.INIT_HCA, 0, (view) => {
    InitHca.qpcBase.lo.set(view, 0, 20);
    InitHca.cqcBase.lo.set(view, 0, 20);
    InitHca.srqcBase.lo.set(view, 0, 16);
    InitHca.logMpts.set(view, 0, 22);
    InitHca.logUars.set(view, 0, 11);
  });
  const counts = [
    driver.fill(Command.SW2HW_MPT, region),
    driver.fill(Command.SW2HW_CQ, () => (view) => CqContext.usrPage.set(view, 0, 1)),
    driver.fill(Command.SW2HW_SRQ, () => (view) => SrqContext.usrPage.set(view, 0, 1)),
    driver.fill(Command.RST2INIT_QP, queuePair),
  ];
  return { driver, counts };
}

/** Resident memory of a process, in MB, and the part that is its own (not the mapped files of Node itself). */
function memoryOf(pid: number): string {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const kiB = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
  return `${Math.round(kiB("VmRSS") / 1000)} MB resident (${Math.round(kiB("RssAnon") / 1000)} MB anonymous)`;
}

async function untilUp(): Promise<Status> {
  for (let tries = 0; tries < 100; tries++) {
    const [domain] = await findDomains();
    if (domain !== undefined) return domain.status;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("the device domain does not answer");
}

const count = Number(process.argv[2] ?? 8);
const main = process.argv[3] ?? MAIN;
const folder = mkdtempSync(join(tmpdir(), "vhca-bench-"));
// The domain's run folder, where it is found again.
process.env.XDG_RUNTIME_DIR = folder;
const names = Array.from({ length: count }, (_, i) => `n${i + 1}`);
const domain = spawn(process.execPath, [main, "up", "--foreground", "--hca", names.join(",")], {
  stdio: ["ignore", "ignore", "inherit"],
});
const drivers: CommandsOnly[] = [];
try {
  const { pid, hcas } = await untilUp();
  console.log(`${cpus()[0]?.model ?? "?"}, Node ${process.version}; quota ${JSON.stringify(DEFAULT_QUOTA)}`);
  console.log(`idle, ${count} HCAs: ${memoryOf(pid)}`);
  for (const { name, socketPath } of hcas) {
    const { driver, counts } = fillHca(socketPath);
    drivers.push(driver);
    console.log(`${name}: ${counts.join(", ")} regions, CQs, SRQs, QPs: ${memoryOf(pid)}`);
  }
  await new Promise((resolve) => setTimeout(resolve, 5000));
  console.log(`five seconds later: ${memoryOf(pid)}`);
} finally {
  for (const driver of drivers) driver.close();
  domain.kill("SIGINT");
  await new Promise((resolve) => domain.once("exit", resolve));
  rmSync(folder, { recursive: true, force: true });
}

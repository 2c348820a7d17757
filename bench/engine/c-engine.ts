// The minimal C engine in the place of a device domain: the domain sets guests and queues up and is stopped; the C engine maps the same
// memory and carries on where it stood. Both ends of the link then see the same rings, records and tables as before.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { LOG_UARC_PAGES } from "../../src/driver/context-memory.ts";
import { PAGE_BYTES } from "../../src/driver/dma-heap.ts";
import { MTT_BYTES } from "../../src/spec/hca/contexts.ts";
import { DB_RECORD_BYTES, DB_RECORDS_PER_PAGE, DbRecordType, UAR_PAGE_BYTES } from "../../src/spec/hca/registers.ts";
import type { CTools } from "./c-tools.ts";
import { type Domain, freeze, thaw } from "./domain.ts";
import { CQ_LOG_SIZE, type End, type Link } from "./link.ts";
import type { PageRegion } from "./page-region.ts";

/** More regions that WQEs name, besides those of the link. */
export interface MoreRegions {
  readonly near: readonly PageRegion[];
  readonly far: readonly PageRegion[];
}

export class CEngine {
  readonly #child: ChildProcess;
  readonly #pid: number;
  #isFrozen = false;

  private constructor(child: ChildProcess) {
    if (child.pid === undefined) throw new Error("the C engine could not be started");
    this.#child = child;
    this.#pid = child.pid;
  }

  /** Stops `domain` for good and takes the link over. */
  static async takeOver(tools: CTools, domain: Domain, { near, far }: Link, more: MoreRegions): Promise<CEngine> {
    domain.freeze();
    const child = spawn(tools.path("engine"), { stdio: ["pipe", "pipe", "inherit"] });
    const engine = new CEngine(child);
    child.stdin.end(`${[...describe(domain, near, more.near), ...describe(domain, far, more.far)].join("\n")}\n`);
    await once(child.stdout, "data");
    engine.freeze();
    return engine;
  }

  freeze(): void {
    if (!this.#isFrozen) freeze(this.#pid);
    this.#isFrozen = true;
  }

  thaw(): void {
    if (this.#isFrozen) thaw(this.#pid);
    this.#isFrozen = false;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const hasEnded = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await hasEnded;
  }
}

/** What the C engine must know of one guest; the lines are those of c/engine.c. */
function describe(domain: Domain, end: End, more: readonly PageRegion[]): string[] {
  const { guest, qp, sends, receives, cq } = end;
  const { access, device } = guest;
  const regions = [end.region, ...more];
  const icmPages = new Set(regions.flatMap(icmPagesOf));
  const ringAt = qp.region.block.at;
  return [
    `guest ${guest.ramPath} ${access.memory.bytes.length} ${access.dmaBase} ${domain.uarPath(guest.name)} ${device.uar * UAR_PAGE_BYTES}`,
    ...[...icmPages].map((page) => `icm ${page} ${device.icm.mttAt(page * PAGE_BYTES)}`),
    ...regions.map((r) => `region ${r.index} ${r.index} ${r.start} ${r.length} ${r.access} ${r.pd} ${r.mttAddress}`),
    `qp ${qp.number} ${qp.pd} ${ringAt + qp.sqBase} ${qp.sqBase} ${qp.logSqSize} ${qp.logSqStride} ${qp.sqRecord.at} ${sends.posted} ` +
      `${ringAt} ${qp.logRqSize} ${qp.logRqStride} ${qp.rqRecord.at} ${receives.posted}`,
    `cq ${cq.region.block.at} ${CQ_LOG_SIZE} ${consumerRecordAt(end)} 0`,
  ];
}

function icmPagesOf(region: PageRegion): number[] {
  const first = Math.floor(region.mttAddress / PAGE_BYTES);
  const last = Math.floor((region.mttAddress + region.pages.length * MTT_BYTES - 1) / PAGE_BYTES);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** The consumer-index record of a CQ, found by its tag as the device could find it: such records grow down from the last one (3.5). */
function consumerRecordAt({ guest, cq }: End): number {
  const { device, access } = guest;
  const records = DB_RECORDS_PER_PAGE << LOG_UARC_PAGES;
  const uarc = device.icm.uarcBase + device.uar * records * DB_RECORD_BYTES;
  const tag = ((cq.number << 8) | (DbRecordType.CQ_CI << 5)) >>> 0;
  for (let index = records - 1; index >= records - DB_RECORDS_PER_PAGE; index--) {
    const at = device.icm.mttAt(uarc + index * DB_RECORD_BYTES);
    if (access.memory.view.getUint32(at + 4, false) === tag) return at;
  }
  throw new Error(`invariant: CQ ${cq.number} has a consumer-index record`);
}

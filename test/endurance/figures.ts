// What must not grow and what must not be said: memory and descriptors of the device domain's process, objects of its HCAs, and
// warnings of the guests' kernels.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import type { Session } from "../../src/cli/session.ts";
import { run } from "../vm/session.ts";

/** Of this process, in which the domain's threads are. */
export interface ProcessFigures {
  /** Memory that belongs to nobody else: not the guests', which is shared (proc(5), RssAnon). */
  readonly ownMiB: number;
  /** Guest memory mapped here, wherever it is by now. */
  readonly mappedMiB: number;
  readonly mappings: number;
  readonly descriptors: number;
}

/** The figures now. Garbage is collected first where node runs with --expose-gc. */
export function processFigures(): ProcessFigures {
  globalThis.gc?.();
  const status = readFileSync("/proc/self/status", "utf8");
  const shared = readFileSync("/proc/self/maps", "utf8")
    .split("\n")
    .filter((line) => line.includes("/memfd:"));
  const sizes = shared.map((line) => {
    const [from = "0", to = "0"] = line.split(" ", 1)[0]?.split("-") ?? [];
    return Number.parseInt(to, 16) - Number.parseInt(from, 16);
  });
  return {
    ownMiB: Math.round(Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1]) / 1024),
    mappedMiB: Math.round(sizes.reduce((sum, size) => sum + size, 0) / 2 ** 20),
    mappings: shared.length,
    descriptors: readdirSync("/proc/self/fd").length,
  };
}

/** Memory that V8 may take between two looks, whatever we do. */
const HEAP_NOISE_MIB = 48;
/** Connections of our own tools that come and go: ssh clients and their pipes. */
const DESCRIPTOR_NOISE = 12;

/** Nothing that belongs to a guest or a driver's life stayed behind. */
export function assertNoGrowth(before: ProcessFigures, after: ProcessFigures): void {
  const text = `${JSON.stringify(before)} → ${JSON.stringify(after)}`;
  assert.ok(after.ownMiB - before.ownMiB <= HEAP_NOISE_MIB, `memory grew: ${text}`);
  assert.ok(after.mappedMiB <= before.mappedMiB, `guest memory stays mapped: ${text}`);
  assert.ok(after.mappings <= before.mappings, `mappings grew: ${text}`);
  assert.ok(after.descriptors - before.descriptors <= DESCRIPTOR_NOISE, `descriptors grew: ${text}`);
}

/** QPs, CQs, SRQs, regions and ICM pages of a node's HCA. */
export async function objectsOf(session: Session, node: string): Promise<Record<string, number>> {
  const hca = (await session.describe()).hcas.find(({ name }) => name === node);
  assert.ok(hca, `there is an HCA ${node}`);
  return { ...hca.objects };
}

/** What a kernel says when something is wrong with it, not with a cable. */
const KERNEL_TROUBLE =
  /WARNING|BUG:|Oops|Call Trace|general protection|soft lockup|blocked for more than|catastrophic|Kernel panic/i;

/** Fails if a guest's kernel has complained. */
export async function assertQuietKernels(session: Session, nodes: readonly string[]): Promise<void> {
  for (const node of nodes) {
    const trouble = (await run(session, node, "dmesg")).split("\n").filter((line) => KERNEL_TROUBLE.test(line));
    assert.deepEqual(trouble, [], `kernel of ${node}`);
  }
}

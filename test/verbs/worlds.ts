// Where the library's tests run: with everything in this process; against a device domain in a thread of its own, over its sockets; and with
// each HCA on another engine, so that all messages are packets. The same test must hold in all of them.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { silentLog } from "../../src/base/log.ts";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import { LocalFabric } from "../../src/domain/local-fabric.ts";
import {
  ALL_ACCESS,
  activateUd,
  type CompletionQueue,
  type Context,
  connectQp,
  type MemoryRegion,
  openDevice,
  type ProtectionDomain,
  type QpInitAttributes,
  type QueuePair,
  VerbsError,
  type VerbsErrorCode,
} from "../../src/verbs/index.ts";

const MEMORY_BYTES = 16 << 20;

/** A fabric for one test. */
export interface World {
  /** Another HCA whose port is ACTIVE, shut down after the test. */
  open(): Promise<Context>;
}

/** Defines the test for each world. */
export function verbsTest(name: string, body: (world: World) => Promise<void>): void {
  for (const kind of ["in process", "over a socket", "two engines"] as const) {
    test(`${name} (${kind})`, async () => {
      const opened: Context[] = [];
      const source = kind === "over a socket" ? await domainSource() : localSource(kind === "in process" ? 1 : 2);
      const world: World = {
        async open() {
          const context = await source.open();
          opened.push(context);
          await context.portActive();
          return context;
        },
      };
      try {
        await body(world);
        for (const context of opened) context.close();
      } finally {
        await source.drop();
      }
    });
  }
}

interface Source {
  open(): Promise<Context>;
  /** Takes the HCAs away, whatever is left of them. */
  drop(): Promise<void>;
}

function localSource(engines: number): Source {
  const fabric = new LocalFabric({ seed: 1, engines });
  return { open: async () => fabric.openDevice({ memoryBytes: MEMORY_BYTES, mtts: 16384 }), drop: async () => {} };
}

let shared: { domain: DomainHandle; folder: string } | undefined;
let count = 0;

/** HCAs of one domain, which serves all tests of a file. */
async function domainSource(): Promise<Source> {
  shared ??= { domain: new DomainHandle({ log: silentLog }), folder: mkdtempSync(join(tmpdir(), "vhca-verbs-")) };
  const { domain, folder } = shared;
  const names: string[] = [];
  return {
    async open() {
      count++;
      const name = `h${count}`;
      const socketPath = join(folder, name);
      await domain.addHca({ name, socketPath });
      names.push(name);
      return openDevice(socketPath, { memoryBytes: MEMORY_BYTES, mtts: 16384 });
    },
    async drop() {
      for (const name of names) await domain.removeHca(name);
    },
  };
}

after(async () => {
  await shared?.domain.stop();
  if (shared !== undefined) rmSync(shared.folder, { recursive: true, force: true });
});

/** One end of a connection, with a region to play with. */
export interface End {
  readonly context: Context;
  readonly pd: ProtectionDomain;
  readonly cq: CompletionQueue;
  readonly mr: MemoryRegion;
  readonly qp: QueuePair;
  readonly lid: number;
}

export const REGION_BYTES = 64 << 10;

/** Both ends of a pair of HCAs, not connected yet. */
export async function newEnds(world: World, init: Partial<QpInitAttributes> = {}): Promise<[End, End]> {
  const end = async (): Promise<End> => {
    const context = await world.open();
    const pd = context.allocPd();
    const cq = context.createCq(255);
    const mr = pd.regMr(context.allocMemory(REGION_BYTES), ALL_ACCESS);
    const cap = { maxSendSge: 4, maxRecvSge: 4, maxInlineData: 100 };
    const qp = pd.createQp({ qpType: "RC", sendCq: cq, recvCq: cq, cap, ...init });
    return { context, pd, cq, mr, qp, lid: context.queryPort().lid };
  };
  return [await end(), await end()];
}

/** The same, in RTS. */
export async function newPair(world: World, init: Partial<QpInitAttributes> = {}): Promise<[End, End]> {
  const [a, b] = await newEnds(world, init);
  bringUp(a.qp, b);
  bringUp(b.qp, a);
  return [a, b];
}

/** RESET → RTS; connected QPs to the one of `peer`. */
export function bringUp(qp: QueuePair, peer: { qp: QueuePair; lid: number }): void {
  if (qp.qpType === "UD") activateUd(qp, QKEY);
  else connectQp(qp, { lid: peer.lid, qpNum: peer.qp.qpNum });
}

export const QKEY = 0x1234;

/** Destroys an end in order; its context is closed by the world. */
export function tearDown(...ends: readonly End[]): void {
  for (const { qp, mr, cq, pd } of ends) {
    qp.destroy();
    mr.destroy();
    mr.memory.destroy();
    cq.destroy();
    pd.destroy();
  }
}

/** A piece of an end's region. */
export const piece = ({ mr }: End, offset: number, length: number): { addr: number; length: number; lkey: number } => ({
  addr: mr.addr + offset,
  length,
  lkey: mr.lkey,
});

/** For assert.throws and assert.rejects: a VerbsError with that code, whose message matches. */
export const refusal =
  (code: VerbsErrorCode, message: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof VerbsError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };

/** Bytes that are not all the same. */
export function fill(bytes: Uint8Array, seed: number): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 31 + seed * 17) & 0xff;
}

// MPI over two VMs: Open MPI and MPICH over the HCAs and nothing else, over TCP beside them, hpcc; the command line's --mpi.

import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Session } from "../../src/cli/session.ts";
import { runHpcc } from "../../src/lab/mpi/hpcc.ts";
import { Mpi } from "../../src/lab/mpi/mpi.ts";
import { pingPong } from "../../src/lab/mpi/ping-pong.ts";
import { runCommand } from "../../src/lab/run-command.ts";
import { startSession, whyNoVms } from "./session.ts";

/** One image for all of this file. */
const PACKAGES = ["hpcc", "mpich", "openmpi-bin"];
const LONGEST = 1 << 16;
/** Least that a ping-pong moves: five batches of eight round trips of the longest message. */
const LEAST_BYTES = 2 * 5 * 8 * LONGEST;

/** Each rank adds to a counter of rank 0 and writes to the other rank. */
const ONE_SIDED = `#include "mpi.h"
int main(int argc, char **argv) {
  int rank, wrong = 0;
  long *window_memory, before, one = 1, numbers[100];
  MPI_Win window;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Win_allocate(4096, 8, MPI_INFO_NULL, MPI_COMM_WORLD, &window_memory, &window);
  for (int i = 0; i < 512; i++) window_memory[i] = 0;
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Win_lock_all(0, window);
  for (int i = 0; i < 20; i++) MPI_Fetch_and_op(&one, &before, MPI_LONG, 0, 0, MPI_SUM, window), MPI_Win_flush_all(window);
  for (int i = 0; i < 100; i++) numbers[i] = rank * 1000 + i;
  MPI_Put(numbers, 100, MPI_LONG, 1 - rank, 8, 100, MPI_LONG, window);
  MPI_Win_unlock_all(window);
  MPI_Barrier(MPI_COMM_WORLD);
  for (int i = 0; i < 100; i++) wrong += window_memory[8 + i] != (1 - rank) * 1000 + i;
  printf("rank %d: %d wrong, sum %ld\\n", rank, wrong, window_memory[0]);
  MPI_Win_free(&window);
  MPI_Finalize();
  return wrong != 0;
}
`;

/** Bytes that connected services of all HCAs have moved so far. */
async function movedBytes(session: Session): Promise<number> {
  const { hcas } = await session.describe();
  return hcas.reduce((sum, { counters }) => sum + (counters.bytes ?? 0), 0);
}

test("MPI on two VMs", async (t) => {
  const session = await startSession(t, { nodes: 2, packages: PACKAGES });
  if (session === undefined) return;

  for (const implementation of ["openmpi", "mpich"] as const) {
    const mpi = Mpi.of(session.lab, implementation);
    await t.test(`${implementation}: the HCAs carry the data`, async () => {
      const before = await movedBytes(session);
      const rows = await pingPong(mpi, { longestBytes: LONGEST, budgetMs: 20 });
      const moved = (await movedBytes(session)) - before;
      assert.deepEqual([rows.length, rows.at(-1)?.bytes], [17, LONGEST]);
      assert.ok(rows.every(({ latencyUs, bandwidthMbps }) => latencyUs > 0 && bandwidthMbps > 0));
      assert.ok(moved >= LEAST_BYTES, `${moved} bytes went through the HCAs`);
    });

    await t.test(`${implementation}: one-sided communication`, async () => {
      const path = await mpi.compile("one-sided", ONE_SIDED);
      const { status, stdout, stderr } = await mpi.run({ command: path }, { timeoutMs: 60_000 });
      assert.equal(status, 0, stdout + stderr);
      assert.doesNotMatch(stderr + stdout, /UCX +(ERROR|WARN)/);
      assert.deepEqual(stdout.trim().split("\n").sort(), ["rank 0: 0 wrong, sum 40", "rank 1: 0 wrong, sum 0"]);
    });

    await t.test(`${implementation}: over TCP, nothing goes through them`, async () => {
      const before = await movedBytes(session);
      assert.equal((await pingPong(mpi, { network: "ethernet", longestBytes: 1, budgetMs: 1 })).length, 1);
      assert.equal(await movedBytes(session), before);
    });

    await t.test(`${implementation}: without a usable HCA it fails instead of taking TCP`, async () => {
      const path = await mpi.compile("ping-pong");
      const result = await mpi.run(
        { command: `${path} 1 1`, environment: { UCX_NET_DEVICES: "mlx5_0:1" } },
        { timeoutMs: 60_000 },
      );
      assert.notEqual(result.status, 0);
      assert.doesNotMatch(result.stdout, /^1 /m);
      assert.equal(result.timedOut, false);
    });

    await t.test(`${implementation}: ranks are dealt out in turn, with locked memory and the folder`, async () => {
      const command = "echo $(hostname) $(pwd) $(ulimit -l) $A";
      const { stdout } = await mpi.run(
        { command, ranks: 3, folder: "/run", environment: { A: "it's $x" } },
        { timeoutMs: 60_000 },
      );
      const line = (node: string): string => `${node} /run unlimited it's $x`;
      assert.deepEqual(stdout.trim().split("\n").sort(), [line("n1"), line("n1"), line("n2")]);
    });
  }

  await t.test("hpcc verifies all its parts", async () => {
    const before = await movedBytes(session);
    const { checks, isVerified } = await runHpcc(Mpi.of(session.lab), { order: 100 }, { timeoutMs: 120_000 });
    assert.ok(isVerified, JSON.stringify(checks));
    assert.ok((await movedBytes(session)) - before > 1e6);
  });
});

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const mpiHeader = fileURLToPath(new URL("../../src/lab/mpi/programs/mpi.h", import.meta.url));

/** Each rank says who it is; rank 1 ends with status 7. */
const SOURCE = `#include "mpi.h"
int main(int argc, char **argv) {
  int rank, size;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Barrier(MPI_COMM_WORLD);
  printf("rank %d of %d: %s\\n", rank, size, argv[1]);
  MPI_Finalize();
  return rank == 1 ? 7 : 0;
}
`;

test("vhca run --mpi: a program built in the current folder, its output and status", async (t) => {
  const reason = await whyNoVms();
  if (reason !== undefined) {
    t.skip(`no VMs here: ${reason}`);
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "vhca-mpi-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "a.c"), SOURCE);
  copyFileSync(mpiHeader, join(folder, "mpi.h"));
  const build = "tcc -DOPEN_MPI -o a.out a.c /usr/lib/$(uname -m)-linux-gnu/libmpi.so.40";
  const args = ["run", "--packages", PACKAGES.join(","), "--mpi", "--json", "--build", build, "--", "./a.out", "'x  y'"];
  const env = { ...process.env, XDG_RUNTIME_DIR: mkdtempSync(join(folder, "run-")) };
  const ran = await runCommand(process.execPath, [main, ...args], { cwd: folder, env });
  assert.equal(ran.status, 7, ran.stderr + ran.stdout);
  const { commands, mpi } = JSON.parse(ran.stdout) as {
    commands: { status: number; stdout: string }[];
    mpi: { ranks: number; hcas: { node: string; bytes: number }[] };
  };
  assert.deepEqual(
    commands.map(({ status }) => status),
    [0, 7],
  );
  const lines = (commands[1]?.stdout ?? "").trim().split("\n").sort();
  assert.deepEqual(lines, ["rank 0 of 2: x  y", "rank 1 of 2: x  y"]);
  assert.equal(mpi.ranks, 2);
  assert.ok(
    mpi.hcas.every(({ bytes }) => bytes > 0),
    JSON.stringify(mpi),
  );
});

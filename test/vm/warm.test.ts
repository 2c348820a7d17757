// Guests that start from a snapshot: each is a machine of its own, and a snapshot that does not work costs time, not the run.

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { Session, type SessionOptions } from "../../src/cli/session.ts";
import { startLab } from "../../src/lab/lab.ts";
import { Cache } from "../../src/lab/packages/cache.ts";
import { prepareLab } from "../../src/lab/prepare.ts";
import { run, whyNoVms } from "./session.ts";

const obstacle = await whyNoVms();
const scratch = mkdtempSync(join(tmpdir(), "vhca-warm-"));
after(() => {
  rmSync(scratch, { recursive: true });
  assert.ok(
    !process.getActiveResourcesInfo().includes("PipeServerWrap"),
    "nothing listens any more, or this process would not end",
  );
});

/** Snapshots of this file's own: some are damaged here. */
const cache = new Cache(join(scratch, "cache"));
const snapshots = (): string[] => readdirSync(cache.path("snapshots"));
const MEMORY_MIB = 512;

const warnings: string[] = [];
const log = { debug: (): void => {}, info: (): void => {}, warn: (message: string): void => void warnings.push(message) };

async function start(options: Partial<SessionOptions> = {}): Promise<Session> {
  warnings.length = 0;
  return Session.start({ nodes: 2, memoryMiB: MEMORY_MIB, prepared: await prepareLab(), cache, log, ...options });
}

/** How each guest came to life. */
const starts = async (session: Session): Promise<string[]> =>
  Promise.all(session.lab.nodes.map(async (node) => (await node.ready).start));

/** What no two machines may share, one a line. */
const SECRETS = "cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | od -An -tx1";

describe("warm start", { skip: obstacle ?? false }, () => {
  test("restored guests are machines of their own", async () => {
    const shared = mkdtempSync(join(scratch, "share-"));
    writeFileSync(join(shared, "to-guest"), "hello");
    const session = await start({ mount: shared });
    try {
      assert.deepEqual(await starts(session), ["warm", "warm"]);
      assert.deepEqual(warnings, []);
      for (const [index, name] of ["n1", "n2"].entries()) {
        assert.equal(await run(session, name, "hostname; cat /etc/hostname"), `${name}\n${name}\n`);
        const addresses = await run(session, name, "cat /sys/class/net/eth0/address; ip -br -4 address show dev eth0");
        assert.match(addresses, new RegExp(`^52:56:00:86:00:0${index + 1}\n.* 10\\.86\\.0\\.${index + 1}/24`));
        assert.match(await run(session, name, "ip -br -4 address show dev ib0"), new RegExp(` 10\\.87\\.0\\.${index + 1}/24`));
        assert.match(await run(session, name, "ibv_devinfo"), /PORT_ACTIVE/);
        const clock = Number(await run(session, name, "date +%s"));
        assert.ok(Math.abs(clock - Date.now() / 1000) < 20, `${name}'s clock is at ${clock}`);
        assert.match(await run(session, name, "getent hosts n1 n2 n2-ib"), /10\.86\.0\.1 .*\n10\.86\.0\.2 .*\n10\.87\.0\.2 /);
        assert.equal(await run(session, name, `cat /mnt/host/to-guest; echo ${name} >/mnt/host/${name}`), "hello");
        assert.equal(readFileSync(join(shared, name), "utf8"), `${name}\n`);
      }
      await run(session, "n1", "ping -c 2 -i 0.2 n2 && ping -c 2 -i 0.2 n2-ib");
      assert.equal(await run(session, "n1", "ssh n2 hostname"), "n2\n");

      const before = await run(session, "n2", SECRETS);
      assert.equal((await session.lab.node("n2").restart()).start, "warm");
      const all = [await run(session, "n1", SECRETS), before, await run(session, "n2", SECRETS)].join("").trim().split("\n");
      assert.equal(all.length, 9);
      assert.equal(new Set(all).size, all.length, `what should be random is not:\n${all.join("\n")}`);
      await run(session, "n2", "ping -c 2 -i 0.2 n1-ib");
    } finally {
      await session.stop();
    }
    assert.equal(snapshots().length, 1);
  });

  test("another lab shares the snapshot, but no key", async () => {
    const keys: string[] = [];
    for (let i = 0; i < 2; i++) {
      const session = await start({ nodes: 1 });
      assert.deepEqual(await starts(session), ["warm"]);
      keys.push(
        await run(session, "n1", "ssh-keyscan -q n1; cat /etc/vhca/host_key /etc/vhca/authorized_keys /root/.ssh/id_ed25519"),
      );
      // the snapshot's own host key is gone from the disk
      assert.match(await run(session, "n1", "ls -l /etc/vhca/host_key /root/.ssh/id_ed25519"), /^(-rw------- .*\n){2}$/);
      await session.stop();
    }
    const lines = keys.map((text) => text.split("\n").filter((line) => line !== "" && !/BEGIN|END|b3BlbnNz/.test(line)));
    assert.ok((lines[0]?.length ?? 0) >= 8, keys[0]);
    assert.deepEqual(
      lines[0]?.filter((line) => lines[1]?.includes(line)),
      [],
    );
    assert.equal(snapshots().length, 1);
  });

  for (const file of ["memory", "state"])
    test(`a snapshot with a damaged ${file} file: the guests boot, it says why, and the next lab makes another one`, async () => {
      const [name = ""] = snapshots();
      truncateSync(cache.path("snapshots", name, file), 100_000);
      const session = await start();
      assert.deepEqual(await starts(session), ["cold", "cold"]);
      assert.equal(warnings.length, 1, warnings.join("\n"));
      assert.match(warnings[0] ?? "", /^n[12] .*; guests boot instead$/);
      await run(session, "n1", "ping -c 2 -i 0.2 n2-ib");
      await session.stop();
      assert.deepEqual(snapshots(), []);
      const next = await start({ nodes: 1 });
      assert.deepEqual(await starts(next), ["warm"]);
      await next.stop();
      assert.deepEqual(snapshots(), [name]);
    });

  test("a lab that is ended while its guests are restored leaves the snapshot, and starts nothing more", async () => {
    const abort = new AbortController();
    const events: string[] = [];
    const starting = start({
      signal: abort.signal,
      onBootEvent: (_, { event }) => {
        events.push(event);
        abort.abort(new Error("enough"));
      },
    });
    await assert.rejects(starting, /enough/);
    assert.deepEqual([warnings, snapshots().length], [[], 1]);
    assert.deepEqual([...new Set(events)], ["restored"], "no guest boots");
  });

  test("another machine is another snapshot; without an HCA it works, too; a cold start makes none", async () => {
    const prepared = await prepareLab();
    const options = { nodes: 1, prepared, cache, log, memoryMiB: MEMORY_MIB + 128 };
    const cold = await startLab({ ...options, start: "cold" });
    assert.equal((await cold.node("n1").ready).start, "cold");
    await cold.stop();
    assert.equal(snapshots().length, 1);
    const lab = await startLab(options);
    const { start: how, hca } = await lab.node("n1").ready;
    assert.deepEqual([how, hca], ["warm", "none"]);
    const { stdout } = await lab.node("n1").exec("hostname; grep MemTotal /proc/meminfo");
    assert.match(stdout, /^n1\nMemTotal: +(5[5-9]|6[0-4])\d{4} kB/);
    await lab.stop();
    assert.equal(snapshots().length, 2);
  });
});

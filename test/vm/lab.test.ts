// Two guests without HCAs: commands, their Ethernet, the shared folder, pulling the plug, and nothing left afterwards.
// Needs QEMU, a kernel and an image: fetched at the first run (a minute), skipped with the reason where they cannot be had.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parseStoreCost, runGuestProgram } from "../../src/lab/guest-program.ts";
import { execInRunningLab, type Lab, startLab } from "../../src/lab/lab.ts";
import { LabError } from "../../src/lab/lab-error.ts";
import { type Prepared, prepareLab } from "../../src/lab/prepare.ts";
import { onLines } from "../../src/lab/run-command.ts";
import { identify } from "../../src/lab/run-folder.ts";

const SOURCE = new URL("../../src/lab/", import.meta.url).href;

let prepared: Prepared | undefined;
let obstacle = "";
try {
  prepared = await prepareLab({});
} catch (error) {
  if (!(error instanceof LabError) || error.code === "build") throw error;
  obstacle = `no VMs here: ${error.message}`;
}

/** Runs a script in a process of its own; it prints "RUNFOLDER PID…" when its lab is ready. */
async function startOtherLab(script: string): Promise<{ process: ChildProcess; runFolder: string; pids: number[] }> {
  const code = `const { startLab } = await import("${SOURCE}lab.ts"); ${script}
    console.log([lab.runFolder, ...lab.nodes.map((node) => node.pid)].join(" ")); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  const line = await new Promise<string>((resolve, reject) => {
    onLines(child.stdout, resolve);
    child.once("exit", (status) => reject(new Error(`the other lab's process ended with ${status}`)));
  });
  const [runFolder = "", ...pids] = line.split(" ");
  return { process: child, runFolder, pids: pids.map(Number) };
}

async function assertEnded(pids: readonly number[]): Promise<void> {
  const running = (): number[] => pids.filter((pid) => identify(pid) !== undefined);
  for (let tries = 0; running().length > 0 && tries < 200; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(running(), []);
}

describe("lab of two guests", { skip: obstacle || false }, () => {
  const shared = mkdtempSync(join(tmpdir(), "vhca-share-"));
  let lab: Lab;
  before(async () => {
    lab = await startLab({ nodes: 2, mount: shared, ...(prepared && { prepared }) });
  });
  after(async () => {
    await lab?.stop();
    rmSync(shared, { recursive: true });
  });

  test("exec: status, both streams, standard input", async () => {
    const result = await lab.node("n1").exec("cat; echo err >&2; exit 7", { stdin: "from the host\n" });
    assert.deepEqual(result, { status: 7, stdout: "from the host\n", stderr: "err\n", timedOut: false });
    assert.equal((await lab.node("n2").exec("hostname; exit 255")).status, 255);
    assert.equal((await lab.node("n1").exec("sh -c 'kill -TERM $$'")).status, 128 + 15);
    assert.equal((await lab.node("n1").exec("false # a comment at the end")).status, 1);
  });

  test("exec: output comes while the command runs, and large output comes whole", async () => {
    let whenFirst = 0;
    let length = 0;
    const result = await lab.node("n1").exec("echo first; sleep 1; head -c 3000000 /dev/zero", {
      onStdout: (chunk) => {
        whenFirst ||= performance.now();
        length += chunk.length;
      },
    });
    assert.ok(performance.now() - whenFirst > 900, "the first line came before the command ended");
    assert.equal(length, "first\n".length + 3_000_000);
    assert.equal(result.stdout, "");
  });

  test("exec: many at once", async () => {
    const results = await Promise.all(Array.from({ length: 20 }, (_, index) => lab.node("n2").exec(`echo ${index}`)));
    assert.deepEqual(
      results.map(({ stdout }) => Number(stdout)),
      Array.from({ length: 20 }, (_, index) => index),
    );
  });

  test("exec: hundreds one after another, none hangs (see guest/channel)", async () => {
    const run = async (name: string): Promise<void> => {
      for (let count = 0; count < 150; count++) {
        const result = await lab.node(name).exec("cat", { stdin: `${count}`, timeoutMs: 10_000 });
        assert.deepEqual([result.stdout, result.timedOut], [`${count}`, false]);
      }
    };
    await Promise.all([run("n1"), run("n2")]);
  });

  test("exec: time-out and abort end the command and its children in the guest", async () => {
    const node = lab.node("n1");
    const late = await node.exec("sleep 1234 & sleep 1234; true", { timeoutMs: 300 });
    assert.deepEqual([late.status, late.timedOut], [124, true]);
    const abort = new AbortController();
    const running = node.exec("sleep 1234", { signal: abort.signal });
    setTimeout(() => abort.abort(new Error("enough")), 300);
    await assert.rejects(running, /enough/);
    assert.equal((await node.exec("pgrep -cf 'sleep 1234$'")).stdout, "0\n");
  });

  test("network: names resolve, packets of every size arrive, guests reach each other by ssh", async () => {
    const node = lab.node("n1");
    assert.match((await node.exec("getent hosts n2 n2-ib")).stdout, /10\.86\.0\.2 +n2\n10\.87\.0\.2 +n2-ib/);
    assert.match(
      (await node.exec("ping -c 3 -i 0.05 n2 && ping -c 3 -i 0.05 -s 20000 n2")).stdout,
      /3 received.*\n(.*\n)*.*3 received/,
    );
    assert.equal((await node.exec("ssh n2 hostname")).stdout, "n2\n");
    await lab.node("n2").exec("iperf3 -s -D");
    assert.equal((await node.exec("iperf3 -c n2 -t 1 >/dev/null")).status, 0);
  });

  test("guest: what verbs programs expect", async () => {
    const { stdout } = await lab
      .node("n1")
      .exec("ulimit -l; uname -r; lsmod; ls /dev/infiniband; ibv_devinfo 2>&1; modprobe rdma_rxe && echo rxe");
    assert.match(stdout, /^unlimited\n6\.12\./);
    for (const name of ["ib_mthca", "ib_ipoib", "ib_umad", "ib_uverbs", "rdma_ucm"])
      assert.match(stdout, new RegExp(`^${name} `, "m"));
    assert.match(stdout, /^rdma_cm$/m);
    assert.match(stdout, /No IB devices found/);
    assert.match(stdout, /^rxe$/m);
  });

  test("mount: the host's folder is read and written", async () => {
    writeFileSync(join(shared, "to-guest"), "hello");
    const result = await lab.node("n2").exec("cat /mnt/host/to-guest && echo back >/mnt/host/from-guest");
    assert.deepEqual([result.status, result.stdout], [0, "hello"]);
    assert.equal(readFileSync(join(shared, "from-guest"), "utf8"), "back\n");
  });

  test("store probe: compiled and run in the guest", async () => {
    const source = readFileSync(new URL("../../bench/guest/store.c", import.meta.url), "utf8");
    await lab.node("n1").exec("head -c 8192 /dev/zero >/dev/shm/page");
    const cost = parseStoreCost(await runGuestProgram(lab.node("n1"), source, ["/dev/shm/page", "0x1000"]));
    assert.ok(cost.uarNs > 0 && cost.ramNs > 0);
    const none = await runGuestProgram(lab.node("n1"), source);
    assert.equal(none.status, 1);
    assert.match(none.stderr, /no page to store to/);
  });

  test("exec from another process reaches the same guest", async () => {
    await lab.node("n1").exec("echo mark >/tmp/mark");
    assert.equal((await execInRunningLab("n1", "cat /tmp/mark", { labId: lab.id })).stdout, "mark\n");
    await assert.rejects(execInRunningLab("n9", "true", { labId: lab.id }), /has no node n9; it has n1, n2/);
  });

  test("monitor: a guest can be paused and goes on", async () => {
    const monitor = await lab.node("n2").monitor();
    await monitor.execute("stop");
    assert.equal(((await monitor.execute("query-status")) as { status: string }).status, "paused");
    await monitor.execute("cont");
    monitor.close();
    assert.equal((await lab.node("n2").exec("echo on")).stdout, "on\n");
  });

  test("ssh comes back when somebody ends it in the guest", async () => {
    await lab
      .node("n2")
      .exec("pkill -x sshd-session")
      .catch(() => {});
    for (let tries = 0; tries < 100; tries++) {
      const result = await lab
        .node("n2")
        .exec("echo again")
        .catch(() => undefined);
      if (result?.stdout === "again\n") return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.fail("no command ran any more");
  });

  test("kill: the running command and later ones say that the guest is gone, the other goes on, restart brings it back", async () => {
    const node = lab.node("n2");
    const running = assert.rejects(node.exec("sleep 60"), (error) => error instanceof LabError && error.code === "node-gone");
    setTimeout(() => void node.kill(), 300);
    await running;
    await assert.rejects(node.exec("true"), /n2 is gone/);
    assert.equal(node.isRunning, false);
    assert.equal((await lab.node("n1").exec("true")).status, 0);
    await node.restart();
    assert.equal((await node.exec("ping -c 1 n1 >/dev/null && hostname")).stdout, "n2\n");
  });

  test("two labs at once do not meet, and nothing of a stopped one is left", async () => {
    const other = await startLab({ nodes: 1, ...(prepared && { prepared }) });
    const pids = other.nodes.map((node) => node.pid ?? 0);
    assert.notEqual((await other.node("n1").exec("ping -c 1 -W 1 n2")).status, 0, "n2 of the first lab does not answer");
    await other.stop();
    await assertEnded(pids);
    assert.ok(!existsSync(other.runFolder));
    assert.equal((await lab.node("n1").exec("true")).status, 0);
  });
});

describe("lab of another process", { skip: obstacle || false }, () => {
  test("Ctrl-C: processes and files go, and the signal is passed on", async () => {
    const other = await startOtherLab(`const lab = await startLab({ nodes: 1 });`);
    other.process.kill("SIGINT");
    assert.deepEqual(await once(other.process, "exit"), [null, "SIGINT"]);
    await assertEnded(other.pids);
    assert.ok(!existsSync(other.runFolder));
  });

  test("an exception: the same", async () => {
    const other = await startOtherLab(`const lab = await startLab({ nodes: 1 }); setTimeout(() => process.exit(5), 200);`);
    assert.deepEqual(await once(other.process, "exit"), [5, null]);
    await assertEnded(other.pids);
    assert.ok(!existsSync(other.runFolder));
  });

  test("kill -9: the guests die with their owner, and the next lab clears the folder", async () => {
    const other = await startOtherLab(`const lab = await startLab({ nodes: 1 });`);
    other.process.kill("SIGKILL");
    await once(other.process, "exit");
    await assertEnded(other.pids);
    assert.ok(existsSync(other.runFolder));
    const { sweepRunFolders } = await import("../../src/lab/run-folder.ts");
    sweepRunFolders(dirname(other.runFolder));
    assert.ok(!existsSync(other.runFolder));
  });

  test("a guest that cannot boot is reported with its reason, at once", async () => {
    assert.ok(prepared);
    const broken = { ...prepared, kernel: { ...prepared.kernel, bootArchive: "/dev/null" } };
    await assert.rejects(startLab({ nodes: 1, prepared: broken }), (error) => {
      assert.ok(error instanceof LabError);
      assert.match(error.message, /^n1 ended while it was booting: Kernel panic - not syncing/);
      assert.match(error.details, /serial log of n1/);
      return true;
    });
  });
});

// The command line as a user types it, on real VMs: statuses, prefixes, time-outs, interruption, nothing left behind.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { runRoot } from "../../src/lab/paths.ts";
import { CLOCK_TRIALS, hasLostItsClock } from "../../src/lab/perftest.ts";
import { whyNoVms } from "./session.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

/** Run folders of this file's own, so that labs of others are not taken for leftovers. */
const env = { ...process.env, XDG_RUNTIME_DIR: mkdtempSync(join(tmpdir(), "vhca-cli-")) };
after(() => rmSync(env.XDG_RUNTIME_DIR, { recursive: true }));
const root = (): string => runRoot(env);

interface Ran {
  status: number | null;
  stdout: string;
  stderr: string;
}

function vhca(
  args: readonly string[],
  onStart: (kill: (signal: NodeJS.Signals) => void, output: () => string) => void = () => {},
): Promise<Ran> {
  const child = spawn(process.execPath, [main, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  const ran: Ran = { status: null, stdout: "", stderr: "" };
  child.stdout.on("data", (chunk) => {
    ran.stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    ran.stderr += chunk;
  });
  onStart(
    (signal) => child.kill(signal),
    () => ran.stdout,
  );
  return new Promise((resolve) => child.on("close", (status) => resolve({ ...ran, status })));
}

/** QEMU processes whose command line names our run folder. */
function labProcesses(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8");
        return line.includes("qemu-system") && line.includes(root());
      } catch {
        return false;
      }
    });
}

const leftovers = (): string[] => (existsSync(root()) ? readdirSync(root()) : []);

test("vhca run on VMs", async (t) => {
  const reason = await whyNoVms();
  if (reason !== undefined) {
    t.skip(`no VMs here: ${reason}`);
    return;
  }

  await t.test("doorbells trapped: QEMU goes on without an answer; answered: it has one for every message", async () => {
    for (const how of ["trapped", "answered"]) {
      const ran = await vhca(["run", "--nodes", "1", "--doorbells", how, "--json", "--", "ibv_devinfo"]);
      assert.equal(ran.status, 0, ran.stderr);
      const [hca] = JSON.parse(ran.stdout).domain.hcas;
      assert.equal(hca.doorbells, "trapped");
      assert.ok(hca.messages.regionWrite > 0);
      assert.equal(hca.messages.messagesOut === hca.messages.messagesIn, how === "answered", JSON.stringify(hca.messages));
    }
  });

  await t.test("passes the status on, prefixes lines with the node, cleans up", async () => {
    const ran = await vhca(["run", "--", "echo to out; echo to err >&2; exit 7"]);
    assert.equal(ran.status, 7, ran.stderr);
    assert.match(ran.stdout, /^n1 \| to out$/m);
    assert.match(ran.stdout, /^n2 \| to out$/m);
    assert.match(ran.stderr, /^n2 \| to err$/m);
    assert.deepEqual([leftovers(), labProcesses()], [[], []]);
  });

  await t.test("a server and a client, as in the README", async () => {
    const both = ["--on", "n1", "ib_write_bw -n 500", "--on", "n2", "ib_write_bw -n 500 n1"];
    let ran = await vhca(["run", "--nodes", "2", ...both, "--json"]);
    for (let trial = 1; trial < CLOCK_TRIALS && hasLostItsClock(ran); trial++)
      ran = await vhca(["run", "--nodes", "2", ...both, "--json"]);
    assert.equal(ran.status, 0, ran.stderr + ran.stdout);
    const { commands, domain } = JSON.parse(ran.stdout) as {
      commands: { node: string; stdout: string }[];
      domain: { hcas: unknown[] };
    };
    assert.deepEqual(
      commands.map((c) => c.node),
      ["n1", "n2"],
    );
    assert.match(commands[1]?.stdout ?? "", /65536/);
    assert.equal(domain.hcas.length, 2);
  });

  await t.test("--timeout ends with 124", async () => {
    const ran = await vhca(["run", "--nodes", "1", "--timeout", "20", "--", "sleep 100"]);
    assert.equal(ran.status, 124, ran.stderr);
    assert.match(ran.stderr, /out of time; ended what was still running: 'sleep 100' on n1$/m);
    assert.deepEqual([leftovers(), labProcesses()], [[], []]);
  });

  await t.test(
    "a command that fails ends those that wait for it; its status is that of the run, and all of them are in the JSON",
    async () => {
      const ran = await vhca(["run", "--nodes", "2", "--json", "--on", "n1", "echo up; sleep 100", "--on", "n2", "exit 7"]);
      assert.equal(ran.status, 7, ran.stderr);
      assert.match(ran.stderr, /'exit 7' on n2 failed with status 7; ended what was still running: 'echo up; sleep 100' on n1$/m);
      const { status, commands } = JSON.parse(ran.stdout) as { status: number; commands: Record<string, unknown>[] };
      assert.equal(status, 7);
      assert.deepEqual(
        commands.map(({ stdout, status, wasEnded }) => [stdout, status, wasEnded]),
        [
          ["up\n", 143, true],
          ["", 7, false],
        ],
      );
    },
  );

  await t.test("Ctrl-C in the middle leaves nothing running and no files", async () => {
    const ran = await vhca(["run", "--", "echo started; sleep 100"], async (kill, output) => {
      while (!output().includes("started")) await sleep(50);
      kill("SIGINT");
    });
    assert.equal(ran.status, 130);
    assert.deepEqual([leftovers(), labProcesses()], [[], []]);
  });

  await t.test("Ctrl-C while booting, too", async () => {
    const ran = await vhca(["run", "--json", "--", "true"], async (kill) => {
      await sleep(2500);
      kill("SIGINT");
    });
    assert.equal(ran.status, 130);
    const { status, error, commands } = JSON.parse(ran.stdout) as { status: number; error: string; commands: unknown[] };
    assert.deepEqual([status, error, commands], [130, "interrupted by SIGINT", []]);
    assert.deepEqual([leftovers(), labProcesses()], [[], []]);
  });

  await t.test("a VM that dies, while it boots or while commands run: status 3, why, and what there is until then", async () => {
    const booting = await vhca(["run", "--cold", "--json", "--", "true"], async () => {
      while (labProcesses().length < 2) await sleep(50);
      process.kill(Number(labProcesses()[0]), "SIGKILL");
    });
    const { status, error, boot, commands } = JSON.parse(booting.stdout);
    assert.deepEqual([booting.status, status, commands, boot.nodes.length], [3, 3, [], 2], booting.stderr);
    assert.match(error, /^n[12] ended while it was booting/);
    assert.match(booting.stderr, /^vhca: n[12] ended while it was booting/);

    const off = "echo last; sleep 1; echo o >/proc/sysrq-trigger; sleep 100";
    const running = await vhca(["run", "--json", "--on", "n1", "echo up; sleep 100", "--on", "n2", off]);
    const parts = JSON.parse(running.stdout) as { status: number; commands: Record<string, unknown>[] };
    assert.deepEqual([running.status, parts.status], [3, 3], running.stderr);
    assert.deepEqual(
      parts.commands.map(({ stdout, status, wasEnded, error }) => [stdout, status, wasEnded, error]),
      [
        ["up\n", 143, true, undefined],
        ["last\n", 3, false, "n2 is gone: its VM has ended, or the connection to it"],
      ],
    );
    assert.deepEqual([leftovers(), labProcesses()], [[], []]);
  });

  await t.test("two runs at the same time do not meet", async () => {
    const runs = await Promise.all([1, 2].map((n) => vhca(["run", "--", `echo lab${n}; ping -c 1 n1-ib`])));
    for (const [i, ran] of runs.entries()) {
      assert.equal(ran.status, 0, ran.stderr);
      assert.match(ran.stdout, new RegExp(`n1 \\| lab${i + 1}`));
    }
    assert.deepEqual([leftovers(), labProcesses()], [[], []]);
  });
});

// The command line without VMs: plans, mistakes, output helpers, a domain that is up.

import assert from "node:assert/strict";
import { execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { identify } from "../lab/run-folder.ts";
import { LineSplitter } from "./line-splitter.ts";
import { bytesText, table } from "./output.ts";
import { planCommands } from "./run.ts";
import { planMpi } from "./run-mpi.ts";
import { measurements } from "./tour/measurements.ts";

const main = fileURLToPath(new URL("main.ts", import.meta.url));

function vhca(
  args: readonly string[],
  env: Record<string, string> = {},
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [main, ...args], { encoding: "utf8", env: { ...process.env, ...env }, timeout: 60_000 });
}

/** The same while this process goes on. */
const vhcaBeside = (
  args: readonly string[],
  env: Record<string, string>,
): Promise<{ status: number; stdout: string; stderr: string }> =>
  new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { env: { ...process.env, ...env } }, (error, stdout, stderr) =>
      resolve({ status: Number(error?.code ?? 0), stdout, stderr }),
    );
  });

test("planCommands: --on pairs and a command for every node", () => {
  assert.deepEqual(planCommands(["n2", "a", "n1", "b"], [], 2), [
    { node: "n2", command: "a" },
    { node: "n1", command: "b" },
  ]);
  assert.deepEqual(
    planCommands([], ["ibstat", "-s"], 3).map((c) => `${c.node} ${c.command}`),
    ["n1 ibstat -s", "n2 ibstat -s", "n3 ibstat -s"],
  );
  assert.throws(() => planCommands(["n1"], [], 2), /--on takes a node and a command/);
  assert.throws(() => planCommands(["n3", "x"], [], 2), /there are n1, n2/);
  assert.throws(() => planCommands([], [], 2), /nothing to run/);
});

test("planMpi: the current folder and a package with an MPI, unless others are named", () => {
  const plan = (more: Partial<Parameters<typeof planMpi>[0]>): unknown[] => {
    const { packages, mount } = planMpi({ mpi: true, on: [], packages: ["hpcc"], ...more }, ["hpcc"]);
    return [packages, mount];
  };
  assert.deepEqual(plan({}), [["hpcc", "openmpi-bin"], process.cwd()]);
  assert.deepEqual(plan({ mpi: "mpich", mount: "/x" }), [["hpcc", "mpich"], "/x"]);
  assert.deepEqual(plan({ image: "mine" }), [["hpcc"], process.cwd()]);
  assert.deepEqual(planMpi({ on: [], packages: [] }, []), { on: [], packages: [] });
});

test("LineSplitter: whole lines, split characters, a last line without end", () => {
  const lines: string[] = [];
  const splitter = new LineSplitter((line) => lines.push(line));
  const text = Buffer.from("one\ntwö\r\nthree");
  for (const byte of text) splitter.push(Buffer.of(byte));
  splitter.end();
  assert.deepEqual(lines, ["one", "twö", "three"]);
});

test("table and bytesText", () => {
  assert.equal(
    table(
      ["a", ">n"],
      [
        ["x", "1"],
        ["yy", "10"],
      ],
    ),
    "a    n\nx    1\nyy  10",
  );
  assert.deepEqual([0, 1023, 1536, 1 << 30].map(bytesText), ["0 B", "1023 B", "1.5 KiB", "1.0 GiB"]);
});

test("the tour reads what the programs print", () => {
  const list = measurements({ latency: 10, bandwidth: 10, pingpong: 10 });
  const parse = (name: string, output: string): number | undefined => list.find((m) => m.name === name)?.parse(output);
  const latency =
    " #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]\n 8       2000          14.79          4050.95      59.44    	 302.87  564.29\n";
  assert.equal(parse("RDMA write 8 B", latency), 59.44);
  const bandwidth =
    " #bytes     #iterations    BW peak[MB/sec]    BW average[MB/sec]   MsgRate[Mpps]\n 65536      1000             5700.1             5650.25               0.0904\n";
  assert.equal(parse("RDMA write 64 KiB", bandwidth), 5650.25);
  assert.equal(parse("ping-pong 4 KiB, polled", "1000 iters in 0.25 seconds = 252.12 usec/iter\n"), 252.12);
  assert.equal(parse("RDMA write 8 B", "Couldn't connect"), undefined);
});

test("mistakes end with status 2 and one line that helps", () => {
  for (const [args, text] of [
    [["run"], /nothing to run/],
    [["run", "--nodes", "0", "--", "true"], /whole number of at least 1/],
    [["run", "--nodes", "1e9", "--", "true"], /at most 64/],
    [["run", "--timeout", "1e300", "--", "true"], /number of seconds, at most/],
    [["run", "--doorbells", "maybe", "--", "true"], /Allowed choices are mapped, trapped/],
    [["up", "--hca", "n1,control"], /expected another name/],
    [["up", "--hca", "n1,n2,n1"], /n1: expected each name once/],
    [["up", "--topology", "ring:3"], /expected a shape \(vhca up --help lists them\) or a file, and there is none to read/],
    [["up", "--topology", "fat-tree:3"], /fat-tree:3: expected fat-tree:K .*K is even/],
    [["up", "--topology", "star:1"], /star:1 has 1 host, and 2 HCAs need one each/],
    [["run", "--topology", "pair", "--engines", "2", "--", "true"], /expected --engines 1, got 2/],
    [["run", "--mpi", "./a.out"], /expected openmpi or mpich; the program comes after --/],
    [["run", "--mpi"], /give the MPI program after --/],
    [["run", "--mpi", "--on", "n1", "true"], /--on and --mpi exclude each other/],
    [["run", "--ranks", "2", "--", "true"], /--ranks is for MPI programs: add --mpi/],
    [["run", "--mpi", "--ranks", "0", "--", "true"], /whole number from 1 to/],
    [["up", "--data-path", "lanes", "--engines", "2"], /one engine: expected --engines 1, got 2/],
    [["up", "--sm-priority", "16"], /whole number from 0 to 15/],
    [["frobnicate"], /unknown command/],
    [["help", "frobnicate"], /unknown command 'frobnicate'/],
    [["hca", "show", "n1"], /no HCA named n1/],
    [["exec", "n1", "--", "true"], /no lab is running/],
    [["down"], /vhca up/],
    [["capture", "x.pcapng"], /no device domain runs/],
    [["capture", "x.pcapng", "--port", "n1"], /no HCA named n1/],
    [["capture", "x.pcapng", "--seconds", "-1"], /expected a number above 0/],
  ] as const) {
    const folder = mkdtempSync(join(tmpdir(), "vhca-cli-"));
    const ran = vhca(args, { XDG_RUNTIME_DIR: folder });
    rmSync(folder, { recursive: true });
    assert.equal(ran.status, 2, `${args.join(" ")}: ${ran.stderr}`);
    assert.match(ran.stderr, text);
  }
});

test("the help of every command says what it does, and defaults as one types them", () => {
  for (const command of [
    "run",
    "up",
    "status",
    "hca",
    "fabric link",
    "fabric cable",
    "fabric node",
    "image",
    "bench",
    "image build",
  ]) {
    const { status, stdout } = vhca([...command.split(" "), "--help"]);
    assert.equal(status, 0);
    const [usage = "", what = ""] = stdout.split("\n\n");
    assert.match(usage, new RegExp(`^Usage: vhca ${command} `));
    assert.match(what, /^[A-Z].*\.$/s, command);
    assert.doesNotMatch(stdout, /default:\s+\[/);
  }
});

test("up, status, hca, fabric, down", () => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-cli-"));
  const env = { XDG_RUNTIME_DIR: folder };
  try {
    const up = vhca(["up", "--hca", "a,b"], env);
    assert.equal(up.status, 0, up.stderr);
    assert.match(up.stdout, /vfio-user-pci/);
    assert.equal(vhca(["up"], env).status, 2, "a second one is refused");
    assert.match(vhca(["status"], env).stdout, /a +no VM +DOWN/);
    assert.match(vhca(["hca", "add", "c"], env).stdout, /c\.sock/);
    assert.equal(vhca(["hca", "add", "c"], env).status, 2);
    const status = JSON.parse(vhca(["status", "--json"], env).stdout) as { pid: number; hcas: { name: string }[] }[];
    assert.deepEqual(
      status[0]?.hcas.map((h) => h.name),
      ["a", "b", "c"],
    );
    assert.match(vhca(["hca", "show", "b"], env).stdout, /node GUID +0x0002c9/);
    assert.match(vhca(["fabric", "show"], env).stdout, /s1 {2}switch.*\n├─ 1 ── a:1 {2}HCA/);
    assert.match(vhca(["fabric", "show", "--table"], env).stdout, /a:1 +- +s1:1 /);
    assert.match(vhca(["fabric", "show", "--dot"], env).stdout, /"a" -- "s1"/);
    const [shown] = JSON.parse(vhca(["fabric", "show", "--json"], env).stdout) as { nodes: object[]; links: object[] }[];
    assert.deepEqual([shown?.nodes.length, shown?.links.length], [4, 3]);
    assert.match(vhca(["fabric", "show", "--dot", "--table"], env).stderr, /cannot be used with/);
    const file = join(folder, "all.pcapng");
    const captured = vhca(["capture", file, "--seconds", "0.3", "--json"], env);
    assert.equal(captured.status, 0, captured.stderr);
    const { ports, packets, bytes } = JSON.parse(captured.stdout) as { ports: string[]; packets: number; bytes: number };
    assert.deepEqual([ports, packets, bytes], [["a", "b", "c"], 0, statSync(file).size]);
    assert.match(vhca(["capture", file], env).stderr, /exists already/);
    assert.match(vhca(["capture", `${folder}/no/x`], env).stderr, /cannot be written/);
    const removed = JSON.parse(vhca(["hca", "rm", "a", "--json"], env).stdout) as { name: string; portState: number };
    assert.deepEqual([removed.name, removed.portState], ["a", 1]);
    assert.equal(vhca(["hca", "rm", "c"], env).stdout, "c  gone\n");
    const ended = JSON.parse(vhca(["down", "--json"], env).stdout) as { pid: number; hcas: { name: string }[] };
    assert.deepEqual([ended.pid, ended.hcas.map((h) => h.name)], [status[0]?.pid, ["b"]]);
    assert.equal(identify(ended.pid), undefined, "its process has ended");
    assert.equal(vhca(["down"], env).status, 2);
  } finally {
    vhca(["down"], env);
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a domain without HCAs, and something else in a domain's place, are told as what they are", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-cli-"));
  const env = { XDG_RUNTIME_DIR: folder };
  const stranger = join(folder, "vhca", "stranger", "control.sock");
  mkdirSync(dirname(stranger), { recursive: true, mode: 0o700 });
  const server = createServer((_request, response) => response.end("no JSON")).listen(stranger);
  await once(server, "listening");
  try {
    const up = await vhcaBeside(["up", "--hca", ","], env);
    assert.match(up.stdout, /: 0 HCAs on one switch/);
    assert.equal(up.stderr.split("\n").length, 2, "told once, however often it looks");
    const show = await vhcaBeside(["hca", "show", "a"], env);
    assert.equal(show.status, 2);
    const [strange = "", none] = show.stderr.split("\n");
    assert.match(strange, /^vhca: what serves .*stranger.* does not answer as a device domain does, left out: /);
    assert.equal(none, "vhca: there is no HCA named a; no device domain has any");
    const capture = await vhcaBeside(["capture", join(folder, "x.pcapng")], env);
    assert.equal(capture.status, 2);
    assert.match(capture.stderr, /has no HCA whose port could be looked at/);
  } finally {
    await vhcaBeside(["down"], env);
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

test("up: two at once are one, and what the background process refuses is told as it is", async () => {
  const [folder, other] = [mkdtempSync(join(tmpdir(), "vhca-cli-")), mkdtempSync(join(tmpdir(), "vhca-cli-"))];
  const env = { XDG_RUNTIME_DIR: folder };
  const start = (hca: string): ReturnType<typeof vhcaBeside> => vhcaBeside(["up", "--hca", hca], env);
  try {
    const both = await Promise.all(["a", "b"].map(start));
    const [won, lost] = both.sort((x, y) => x.status - y.status);
    assert.deepEqual([won?.status, lost?.status], [0, 2], both.map(({ stderr }) => stderr).join());
    assert.match(lost?.stderr ?? "", /^vhca: a device domain is (starting|up) already/);
    const [domain, ...others] = JSON.parse(vhca(["status", "--json"], env).stdout) as { hcas: { name: string }[] }[];
    assert.equal(others.length, 0);
    assert.match(won?.stdout ?? "", new RegExp(`^${domain?.hcas[0]?.name}:$`, "m"));

    vhca(["down"], env);
    const name = `vhca-test-${process.pid}`;
    assert.equal(vhca(["up", "--ibsim", name], env).status, 0);
    const second = vhca(["up", "--ibsim", name], { XDG_RUNTIME_DIR: other });
    assert.deepEqual([second.status, second.stderr.split("\n").length], [2, 2]);
    assert.match(second.stderr, /^vhca: --ibsim vhca-test-.*is ibsim running, or another domain\?/);
  } finally {
    vhca(["down"], env);
    for (const each of [folder, other]) rmSync(each, { recursive: true, force: true });
  }
});

test("up with a topology from a file: phantoms, and an error with its line", () => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-cli-"));
  const env = { XDG_RUNTIME_DIR: folder };
  const file = join(folder, "lab.yaml");
  try {
    writeFileSync(file, "switches: {s1: , s2: }\nhosts:\n  n1: {switch: s1}\n  'm[1-3]': {switch: s2}\nlinks:\n  - [s1, s3]\n");
    assert.match(vhca(["up", "--hca", "n1", "--topology", file], env).stderr, /lab.yaml:6: a cable leads to s3/);
    writeFileSync(file, "switches: {s1: , s2: }\nhosts:\n  n1: {switch: s1}\n  'm[1-3]': {switch: s2}\nlinks:\n  - [s1, s2]\n");
    const up = vhca(["up", "--hca", "n1", "--topology", file], env);
    assert.match(up.stdout, /1 HCA in .*lab.yaml: 4 hosts, 2 switches/, up.stderr);
    assert.match(vhca(["fabric", "show"], env).stdout, /m3/);
  } finally {
    vhca(["down"], env);
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a netlist reads the files of its folder and no others", () => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-cli-"));
  const file = join(folder, "main.net");
  try {
    writeFileSync(
      join(folder, "leaf.net"),
      'Switch 8 "leaf"\n[1] "n1"[1]\n\nCa 1 "n1"\n[1] "leaf"[1]\n\nCa 1 "n2"\n[1] leaf[2]\n',
    );
    for (const [name, text] of [
      ["leaf.net", /leaf.net:8: expected a cable such as: .* read from .*main.net:1/],
      ["none.net", /main.net:1: "none.net" cannot be read: ENOENT/],
      ["../leaf.net", /main.net:1: "..\/leaf.net" cannot be read: expected a file in .* or below/],
      [join(folder, "leaf.net"), /cannot be read: expected a file in/],
    ] as const) {
      writeFileSync(file, `include "${name}"\n`);
      const ran = vhca(["up", "--hca", "n1", "--topology", file], { XDG_RUNTIME_DIR: folder });
      assert.match(ran.stderr, text);
      assert.equal(ran.status, 2);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("image build that Ctrl-C interrupts has the status of the signal", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-cli-"));
  const child = spawn(process.execPath, [main, "image", "build"], {
    env: { ...process.env, VHCA_CACHE: folder, XDG_RUNTIME_DIR: folder },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = once(child, "close");
  // Its first step.
  await once(child.stderr, "data");
  child.kill("SIGINT");
  const [status] = await ended;
  rmSync(folder, { recursive: true, force: true });
  assert.equal(status, 130);
});

test("run --json that ends before its VMs are ready says why, on stdout too", () => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-cli-"));
  const env = { VHCA_CACHE: join(folder, "cache"), XDG_RUNTIME_DIR: folder };
  try {
    for (const [args, status, error] of [
      [["--timeout", "0"], 124, /^out of time before the VMs were ready/],
      [["--mount", "/nowhere"], 2, /^mount: expected a folder, which does not exist: \/nowhere/],
      [["--mount", main], 2, /^mount: expected a folder, and this is none: /],
    ] as const) {
      const ran = vhca(["run", "--nodes", "3", "--json", ...args, "--", "true"], env);
      assert.equal(ran.status, status, ran.stderr);
      const said = JSON.parse(ran.stdout) as { status: number; error: string; boot: { nodes: object[] }; commands: object[] };
      assert.match(said.error, error);
      assert.equal(ran.stderr, `vhca: ${said.error}\n`);
      assert.deepEqual([said.status, said.commands], [status, []]);
      assert.deepEqual(
        said.boot.nodes,
        ["n1", "n2", "n3"].map((node) => ({ node, events: [] })),
      );
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("the tour in process shows every operation and says what it is", () => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-cli-"));
  const ran = vhca(["tour", "--in-process", "--results", folder]);
  rmSync(folder, { recursive: true });
  assert.equal(ran.status, 0, ran.stderr);
  assert.match(ran.stdout, /^IN PROCESS: no VM/m);
  for (const name of ["send 8 B", "RDMA write 8 B", "RDMA read 8 B", "atomic"]) assert.ok(ran.stdout.includes(name));
});

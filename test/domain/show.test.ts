// `vhca hca show` of a domain that is up, with drivers at its sockets: what people read, what programs read, and mistakes.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { NotFoundError } from "../../src/base/inspect.ts";
import type { CqDetails, HcaTree, QpDetails } from "../../src/control/api.ts";
import { ControlClient } from "../../src/control/client.ts";
import { SocketAccess } from "../../src/driver/backends/socket-access.ts";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { Device } from "../../src/driver/device.ts";
import { ManagementAgent } from "../../src/driver/management-agent.ts";
import { Region } from "../../src/driver/memory-region.ts";
import { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { DriverSharedReceiveQueue } from "../../src/driver/shared-receive-queue.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { PortState, Service } from "../../src/spec/ib/numbers.ts";
import { ALL_ACCESS } from "../in-process/pair.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const MEMORY = 16 << 20;
const TIMEOUT_MS = 20_000;
const MANY_REGIONS = 100;
const WIDTH = 100;

interface Ran {
  status: number | null;
  stdout: string;
  stderr: string;
}
interface Machine {
  access: SocketAccess;
  device: Device;
  lid: number;
  pd: number;
  cq: DriverCompletionQueue;
  region: Region;
}

const folder = mkdtempSync(join(tmpdir(), "vhca-show-"));
const env = { ...process.env, XDG_RUNTIME_DIR: folder, NO_COLOR: "1" };
const vhca = (...args: string[]): Ran => spawnSync(process.execPath, [main, ...args], { encoding: "utf8", env });
const machines: Machine[] = [];
let client: ControlClient;
let qp: DriverQueuePair;
let srq: DriverSharedReceiveQueue;

/** What a command prints, if it ends well. */
function printed(...args: string[]): string {
  const ran = vhca(...args);
  assert.equal(ran.status, 0, ran.stderr);
  return ran.stdout;
}

/** Connects as a VM would, loads the driver, and lets the subnet manager bring the port up. */
async function boot(name: string): Promise<Machine> {
  const access = new SocketAccess((await client.hca(name)).socketPath, MEMORY);
  const device = new Device(access, { mtts: 8192 });
  const agent = new ManagementAgent(device);
  for (const start = performance.now(); ; ) {
    access.settle();
    agent.run();
    const { portState, lid } = await client.hca(name);
    if (portState === PortState.ACTIVE) {
      const pd = device.allocatePd();
      const region = new Region(device, device.heap.allocate(8192), { pd, access: ALL_ACCESS });
      return { access, device, lid, pd, cq: new DriverCompletionQueue(device, 63, pd), region };
    }
    assert.ok(performance.now() < start + TIMEOUT_MS, `${name}: the port does not come up`);
  }
}

before(async () => {
  const up = vhca("up", "--hca", "n1,n2", "--json");
  assert.equal(up.status, 0, up.stderr);
  const [status] = JSON.parse(printed("status", "--json")) as { hcas: { socketPath: string }[] }[];
  client = new ControlClient(join(status?.hcas[0]?.socketPath ?? "", "..", "control.sock"));
  const a = await boot("n1");
  const b = await boot("n2");
  machines.push(a, b);
  srq = new DriverSharedReceiveQueue(b.device, { pd: b.pd, wqes: 31, sges: 2 });
  const ends = [a, b].map(
    ({ device, pd, cq }, i) =>
      new DriverQueuePair(device, {
        service: Service.RC,
        pd,
        sendCq: cq,
        receiveCq: cq,
        ...(i === 1 ? { srq } : {}),
      }),
  );
  const [left, right] = ends as [DriverQueuePair, DriverQueuePair];
  qp = left;
  for (const end of ends) end.init();
  left.readyToReceive({ remoteQpn: right.number, dlid: b.lid });
  right.readyToReceive({ remoteQpn: left.number, dlid: a.lid, minRnrTimer: 31 });
  left.readyToSend({ remoteQpn: right.number, dlid: b.lid, rnrRetry: 7 });
  const sges = [{ address: a.region.virtualAddress, length: 4096, lkey: a.region.lkey }];
  const remote = { remoteAddress: b.region.virtualAddress, rkey: b.region.rkey };
  left.postSend({ opcode: SendOpcode.RDMA_WRITE, sges, ...remote });
  left.postSend({ opcode: SendOpcode.SEND_IMM, sges, immediate: 0xabcd });
  left.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: new Uint8Array(3), ...remote });
  for (let i = 0; i < MANY_REGIONS; i++) new Region(a.device, a.device.heap.allocate(4096), { pd: a.pd, access: 0 });
  for (const start = performance.now(); (await client.object("n1", "qp", left.number)).waitsFor !== "RNR"; ) {
    assert.ok(performance.now() < start + TIMEOUT_MS, "the send does not wait");
  }
});

after(() => {
  for (const { access } of machines) access.close();
  vhca("down");
  rmSync(folder, { recursive: true, force: true });
});

test("the tree as people read it", () => {
  const text = printed("hca", "show", "n1");
  const lines = text.split("\n");
  const lid = machines[1]?.lid;
  const number = `0x${qp.number.toString(16)} (${qp.number})`;
  for (const line of [
    "n1  MT25204, PCI 15b3:6274, firmware 1.2.0",
    "  state      INITIALISED, idle, 1 QP waiting or flushing",
    "  session    a VM is connected, doorbells mapped",
    "             16 MiB of guest memory in 1 DMA range",
    "     QP0 0x400, QP1 0x402",
    "     P_Keys  0xffff",
    "EQs: 3",
    "  EQ  size  producer  consumer  pending  armed  interrupt",
    "CQs: 2",
    "   CQ  size  producer  consumer  armed  EQ  UAR  PD  used",
    "  129    64         1         0  no      1    2   6     2",
    "SRQs: 0",
    "QPs: 3",
    `  ${number}  RC       RTS  to QP 0x404 at LID ${lid}  PD 6  UAR 2  CQ 129`,
    "  lkey, rkey  PD     start   length    pages  access                MTT at",
    "multicast entries: 0",
  ]) {
    assert.ok(lines.includes(line), `no line\n${line}\nin\n${text}`);
  }
  assert.match(text, /^ {2}1 {2}ACTIVE, LID \d+ \(LMC 0\), SM LID 1, MTU 2048, GUID 0x0002c9[0-9a-f]{10}$/m);
  assert.match(text, /^ {6}send 2 posted of 64, at 1 +receive 0 posted of 64, at 0 +PSN 2 out, 0 in$/m);
  assert.match(text, /^ {6}waits for a receive WQE at the peer \(RNR\): next try in [\d.]+ ms, no limit$/m);
  assert.match(text, /^ {2}0x00001700 +6 +0x[0-9a-f]+ +8\.0 KiB +4\.0 KiB {2}local rw, remote rwa {2}0x[0-9a-f]+$/m);
  assert.match(text, /^ {2}… and \d+ more \(--all\)$/m);
  assert.match(text, /^counters\n.*\brdmaWrites +1\b/ms);
  assert.ok(!text.includes("bindErrors"), "counters that are zero are left out");
  for (const line of lines) assert.ok(line.length <= WIDTH || line.endsWith(".sock"), `${line.length}: ${line}`);
});

test("--all: long lists to their end, and counters that are zero", () => {
  const text = printed("hca", "show", "n1", "--all");
  assert.ok((text.match(/^ {2}0x0000[0-9a-f]{4} /gm) ?? []).length > MANY_REGIONS);
  assert.ok(!text.includes("more (--all)"));
  assert.match(text, /^errors\n.*\bbindErrors +0\b/ms);
});

test("--json: the whole tree, and it says that it is whole", () => {
  const tree = JSON.parse(printed("hca", "show", "n1", "--json")) as HcaTree;
  assert.deepEqual([tree.name, tree.systemState, tree.session.isConnected], ["n1", "INITIALISED", true]);
  assert.ok(tree.regions.count > MANY_REGIONS);
  for (const { count, isCut, items } of [tree.qps, tree.cqs, tree.srqs, tree.regions, tree.groups]) {
    assert.deepEqual([items.length, isCut], [count, false]);
  }
  assert.equal(tree.qps.items.find(({ number }) => number === qp.number)?.waitsFor, "RNR");
});

test("the API cuts where it is told to, and says so", async () => {
  const { regions, srqs } = await client.tree("n1", 40);
  assert.deepEqual([regions.items.length, regions.isCut, srqs.isCut], [40, true, false]);
  assert.ok(regions.count > MANY_REGIONS);
  await assert.rejects(client.tree("n1", 4097), /4096/);
  await assert.rejects(client.object("n1", "qp", -1), /expected a number/);
  await assert.rejects(client.object("n1", "srq", 1), /^Error: n1 has no SRQ 0x1; it has none at all$/);
  await assert.rejects(client.object("n1", "region", 7), /n1 has no region with key 0x7; there are \d+: 0x00001000, .* …$/);
  await assert.rejects(client.tree("n9"), NotFoundError);
});

test("one queue pair: its context, its work requests, its peer", () => {
  const text = printed("hca", "show", "n1", "--qp", `0x${qp.number.toString(16)}`);
  for (const line of [
    `n1 QP 0x${qp.number.toString(16)} (${qp.number})  RC  RTS`,
    "  send       2 posted of 64, at 1, CQ 129",
    "  retries    left: 7, RNR no limit",
    "  peer       n2 QP 0x404 (1028) RC RTR",
    "next sends",
    "      1  SEND_IMM  at 0x2080  32 B  signaled  immediate 0xabcd",
    "      2  RDMA_WRITE  at 0x2100  48 B  signaled",
    "         inline  3 bytes",
    "context, as its driver wrote it",
    "primary path",
  ]) {
    assert.ok(text.split("\n").includes(line), `no line\n${line}\nin\n${text}`);
  }
  assert.match(text, /^ {9}data {4}0x[0-9a-f]+ {2}lkey 0x00001700 {2}4096 bytes$/m);
  for (const line of text.split("\n")) assert.ok(line.length <= WIDTH, line);
  const json = JSON.parse(printed("hca", "show", "n1", "--qp", String(qp.number), "--json")) as QpDetails;
  assert.deepEqual([json.sends.length, json.peer?.hca, json.context.pd], [2, "n2", 6]);
});

test("one CQ, one SRQ, one region", () => {
  const cq = printed("hca", "show", "n1", "--cq", "129");
  assert.match(cq, /^n1 CQ 0x81 \(129\)\n {2}owner {6}PD 6, UAR 2, EQ 1\n {2}entries {4}1 written, 0 taken, 64 fit$/m);
  assert.match(cq, /^ {4}0 {2}0x404 {2}send {3}RDMA_WRITE {6}0 {2}0x2000 {8}not taken$/m);
  const json = JSON.parse(printed("hca", "show", "n1", "--cq", "0x81", "--json")) as CqDetails;
  assert.deepEqual(json.qps, [qp.number]);
  assert.match(printed("hca", "show", "n2", "--srq", String(srq.number)), /^ {2}WQEs {7}0 posted of 32, 0 taken$/m);
  const { region } = machines[0] as Machine;
  const text = printed("hca", "show", "n1", "--mr", String(region.rkey));
  assert.match(text, /^ {2}access {5}local rw, remote rwa$/m);
  assert.ok(text.includes(`     0x0  0x${region.block.dmaAddress.toString(16)}\n`), text);
});

test("mistakes end with status 2 and say what there is", () => {
  for (const [args, message] of [
    [["n1", "--qp", "0x99"], /n1 has no QP 0x99; there are 3: 0x400, 0x402, 0x404$/m],
    [["n9"], /there is no HCA named n9; there are: n1, n2$/m],
    [["n1", "--qp", "many"], /expected a number, decimal or 0x…/],
    [["n1", "--qp", "1", "--cq", "2"], /cannot be used with option/],
  ] as const) {
    const ran = vhca("hca", "show", ...args);
    assert.equal(ran.status, 2, ran.stderr);
    assert.match(ran.stderr, message);
  }
});

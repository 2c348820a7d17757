// The commands that change the fabric of a running domain, as a user types them.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { LinkView } from "../../fabric/inspect-links.ts";
import type { NodeDetails } from "../../fabric/inspect-node.ts";
import type { PathView } from "../../fabric/path.ts";

const main = fileURLToPath(new URL("../main.ts", import.meta.url));
const env = { ...process.env, XDG_RUNTIME_DIR: mkdtempSync(join(tmpdir(), "vhca-fabric-")) };
after(() => rmSync(env.XDG_RUNTIME_DIR, { recursive: true, force: true }));

function vhca(text: string): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [main, ...text.split(" ")], { env, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (part) => {
    stdout += part;
  });
  child.stderr.on("data", (part) => {
    stderr += part;
  });
  return new Promise((resolve) => child.on("close", (status) => resolve({ status, stdout, stderr })));
}

/** Its output; the status must be right. */
async function output(text: string, status = 0): Promise<string> {
  const ran = await vhca(text);
  assert.equal(ran.status, status, `${text}: ${ran.stderr}`);
  return status === 0 ? ran.stdout : ran.stdout + ran.stderr;
}

test("vhca fabric changes a fat tree that runs", async (t) => {
  await output("up --hca n1 --topology fat-tree:4");
  t.after(() => vhca("down"));

  await t.test("of several cables, none is pulled if one is nowhere", async () => {
    assert.equal((await vhca("fabric link down n3 n99")).status, 2);
    assert.doesNotMatch(await output("fabric link list n3"), /PULLED/);
  });

  await t.test("link down and up: the path goes another way", async () => {
    // Until the subnet manager has been everywhere.
    for (let ran = await vhca("fabric path n2 n16"); ran.status !== 0; ran = await vhca("fabric path n2 n16"));
    const path = async (): Promise<PathView> =>
      (JSON.parse(await output("fabric path n2 n16 --json")) as { there: PathView }).there;
    const before = await path();
    const top = before.hops[2]!;
    assert.match(await output(`fabric link down ${top.node}:${top.out}`), /agg1-\d:\d ── core\d:1 {2}PULLED\n/);
    // Until it has routed around.
    for (let ran = await vhca("fabric path n2 n16"); ran.status !== 0; ran = await vhca("fabric path n2 n16"));
    assert.notDeepEqual((await path()).hops, before.hops);
    assert.match(await output(`fabric link up ${top.node}:${top.out}`), /4X DDR ACTIVE\n/);
    assert.match(await output("fabric path n2 n16"), /n2 to n16, LID \d+:\n {9}n2 {2}out 1 .*\n {2}in 2 {3}edge1-1/);
  });

  await t.test("link set and list", async () => {
    const set = await output("fabric link set edge1-1:1 n2 --width 1X --speed SDR --loss 1.5% --corruption 0.001 --delay 5us");
    assert.match(set, /^edge1-1:1|n1:1 ── edge1-1:1/);
    assert.match(set, /n2:1 ── edge1-1:2 {2}1X SDR ACTIVE {2}loss 1.5%, corruption 0.1%, delay 5us/);
    const [link] = JSON.parse(await output("fabric link list n2 --json")) as LinkView[];
    assert.deepEqual([link?.gbps, link?.faults], [2.5, { loss: 0.015, corruption: 0.001, delayNs: 5000 }]);
    assert.equal((await output("fabric link list edge1-1")).trim().split("\n").length, 5);
    assert.match(await output("fabric link set n2", 2), /nothing to set: give --width/);
    assert.match(await output("fabric link set n2 --loss 2", 2), /expected a part of 1, such as 0.01 or 1%/);
    assert.match(await output("fabric link set n2 --delay 3", 2), /expected a duration such as/);
    assert.match(await output("fabric path n2 n3 --offset 1", 2), /n3 has one LID: expected an offset of 0 to 0, got 1/);
    assert.match(await output("fabric link list n2 edge11", 2), /no node edge11; did you mean edge1-1/);
    assert.match(await output("fabric link list n2 n3:9", 2), /there is no cable at n3:9/);
    assert.match(await output("fabric link list edge11", 2), /no node edge11; did you mean edge1-1/);
    assert.match(await output("fabric link down n1:2", 2), /n1 has ports 1 to 1, there is no port 2/);
  });

  await t.test("node and cable, add and rm", async () => {
    assert.match(await output("fabric cable rm n2"), /n2:1 ── edge1-1:2 {2}gone/);
    assert.match(await output("fabric node add switch leaf --ports 4 --at edge1-1:2"), /leaf:1 ── edge1-1:2 {2}4X DDR ACTIVE/);
    assert.match(await output("fabric node add host n17 --at leaf --speed SDR"), /n17:1 ── leaf:2 {2}4X SDR ACTIVE/);
    assert.match(await output("fabric cable add n2 leaf"), /n2:1 ── leaf:3 {2}4X DDR ACTIVE/);
    assert.match(await output("fabric path n17 n16"), /arrives/);
    assert.match(await output("hca add n17"), /n17.sock/);
    assert.match(await output("fabric node n17"), /^n17 {2}host, .*\nport .*\n +1 {2}leaf:2 .* (?:ACTIVE|INIT|ARMED|DOWN)/);
    const leaf = JSON.parse(await output("fabric node show leaf --json")) as NodeDetails;
    assert.deepEqual([leaf.type, leaf.hasLanes, leaf.ports.map(({ number }) => number)], ["SWITCH", false, [0, 1, 2, 3]]);
    assert.match(await output("fabric node leav", 2), /no node leav; did you mean leaf/);
    assert.match(await output("fabric node rm n17", 2), /n17 is an HCA; unplug it first: vhca hca rm n17/);
    await output("hca rm n17");
    assert.match(await output("fabric node rm n17 leaf"), /n17 {2}gone, with 1 cable\nleaf {2}gone, with 2 cables/);
    assert.match(await output("fabric path n2 n16", 1), /ends here: there is no cable at port 1 of n2/);
    assert.match(await output("fabric node add host x --at core1", 2), /core1 has no free port/);
    assert.equal(await output("fabric node add host x --guid 0", 2), "vhca: guid: expected a GUID such as 0x0002c90200000010\n");
    assert.match(await output("fabric node add router x", 2), /Allowed choices are host, switch/);
    assert.match(await output("fabric show --domain 1", 2), /unknown option/);
    assert.match(await output("fabric path n1 n2 --domain 1", 2), /no device domain has process 1; there are \d+/);
  });
});

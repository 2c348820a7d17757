// What a capture of two VMs looks like to a packet tool that knows InfiniBand: tshark, in the guest itself.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { EXTRA_PACKAGES, run, serverAndClient, startSession } from "./session.ts";

test("tshark dissects a capture of unmodified programs without complaint", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-capture-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const session = await startSession(t, { nodes: 2, packages: EXTRA_PACKAGES, mount: folder });
  if (session === undefined) return;
  const capture = await session.domain.startCapture([], "vhca test");
  const written = writeFile(join(folder, "all.pcapng"), capture.chunks());
  await serverAndClient(session, "ibv_rc_pingpong -n 50 -c", "ibv_rc_pingpong -n 50 -c n1");
  await serverAndClient(session, "ib_write_bw -n 20 -s 20000", "ib_write_bw -n 20 -s 20000 n1");
  await serverAndClient(session, "rping -s -C 5 -v", "rping -c -a n1-ib -C 5 -V -v");
  assert.match(await run(session, "n1", "ping -c 3 -i 0.2 n2-ib"), / 0% packet loss/);
  await run(session, "n2", "sminfo; ibnetdiscover");
  await session.domain.stopCapture();
  await written;
  // One run for everything: tshark takes its time in an emulated guest.
  const fields = ["frame.protocols", "_ws.expert.severity", "_ws.expert.message", "infiniband.bth.opcode", "_ws.col.Info"];
  const command = `tshark -r /mnt/host/all.pcapng -T fields ${fields.map((field) => `-e ${field}`).join(" ")} 2>/dev/null`;
  const lines = (await run(session, "n1", command)).trim().split("\n");
  t.diagnostic(`${lines.length} packets`);
  const seen = new Set<string>();
  for (const line of lines) {
    const [protocols = "", severity = "", message = "", opcode = ""] = line.split("\t");
    assert.match(protocols, /^erf:infiniband/, line);
    assert.doesNotMatch(protocols, /malformed|unreassembled/, line);
    // Chats and notes are no complaints: warnings and errors are (0x600000 and 0x800000).
    for (const each of severity.split(",")) assert.ok(Number(each) < 0x600000, `${message}: ${line}`);
    seen.add(`opcode ${Number(opcode)}`);
    for (const protocol of protocols.split(":")) seen.add(protocol);
  }
  // Sends and writes of RC with their acknowledgements, datagrams; IP and ARP over InfiniBand.
  for (const wanted of ["opcode 4", "opcode 6", "opcode 8", "opcode 17", "opcode 100", "icmp", "arp"]) {
    assert.ok(seen.has(wanted), `${wanted} among ${[...seen].join(", ")}`);
  }
});

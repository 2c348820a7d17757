import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { onLines } from "../run-command.ts";
import { Qmp } from "./qmp.ts";

test("qmp: commands get their answers, errors are thrown, events are passed on", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-qmp-"));
  const server = createServer((socket) => {
    socket.write('{"QMP": {"version": {}, "capabilities": []}}\r\n');
    onLines(socket, (line) => {
      const { execute } = JSON.parse(line) as { execute: string };
      if (execute === "qmp_capabilities") socket.write('{"return": {}}\r\n');
      if (execute === "query-status") socket.write('{"event": "STOP", "timestamp": {}}\r\n{"return": {"status": "paused"}}\r\n');
      if (execute === "cont") socket.write('{"error": {"class": "GenericError", "desc": "cannot"}}\r\n');
      if (execute === "stop") socket.write("qemu: *** stack smashing detected ***\n");
      if (execute === "quit") socket.destroy();
    });
  });
  server.listen(join(folder, "qmp"));
  await once(server, "listening");
  const events: string[] = [];
  const qmp = await Qmp.open(join(folder, "qmp"), ({ event }) => events.push(event));
  assert.deepEqual(await qmp.execute("query-status"), { status: "paused" });
  assert.deepEqual(events, ["STOP"]);
  await assert.rejects(qmp.execute("cont"), /QMP: cannot/);
  await assert.rejects(qmp.execute("quit"), /closed/);
  qmp.close();
  const garbled = await Qmp.open(join(folder, "qmp"));
  await assert.rejects(garbled.execute("stop"), /QMP: not JSON: qemu: \*\*\* stack/);
  server.close();
  rmSync(folder, { recursive: true });
});

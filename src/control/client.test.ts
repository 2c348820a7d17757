// The client of the control API beside a domain that ends: every call comes to an end, too, and says why.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { ControlClient } from "./client.ts";

const folder = mkdtempSync(join(tmpdir(), "vhca-client-"));
const socketPath = join(folder, "control.sock");
after(() => rmSync(folder, { recursive: true, force: true }));

const serve = (answer: (response: ServerResponse) => void): Promise<Server> =>
  new Promise((resolve) => {
    const server = createServer((_request, response) => answer(response));
    server.listen(socketPath, () => resolve(server));
  });

const isGone = /^Error: the device domain has ended: nobody serves .*control\.sock any more$/;

test("a domain that is not there, and one that ends before or in the middle of its answer", async () => {
  const client = new ControlClient(socketPath);
  await assert.rejects(client.faults(), isGone);
  for (const answer of [
    (response: ServerResponse) => response.destroy(),
    (response: ServerResponse) => {
      response.writeHead(200, { "content-length": "1000" });
      response.write("{", () => response.destroy());
    },
  ]) {
    const server = await serve(answer);
    await assert.rejects(client.faults(), isGone);
    await assert.rejects(client.stop(), isGone);
    server.close();
  }
});

test("an answer that is no JSON", async () => {
  const server = await serve((response) => response.end("<html>"));
  await assert.rejects(new ControlClient(socketPath).faults(), SyntaxError);
  server.close();
});

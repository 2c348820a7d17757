// Node programs and unmodified programs in VMs, connected by the connection manager: rping both ways, over IP addresses and without.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Connection,
  ConnectionRejected,
  type ConnectTarget,
  type Context,
  connect,
  createConnectionQp,
  IpoibAddress,
  listen,
  openDevice,
} from "../../src/verbs/index.ts";
import { RpingPeer } from "../verbs/rping-peer.ts";
import { run, startSession } from "./session.ts";

const PORT = 7174;
const GUEST_IP = "10.87.0.1";
const OUR_IP = "10.87.0.100";
const PINGS = 5;

/** The server in the guest may not listen yet. */
async function connectWhenReady(
  context: Context,
  rping: RpingPeer,
  to: ConnectTarget & { sourceIp?: string; destinationIp?: string },
): Promise<Connection> {
  for (let attempt = 0; ; attempt++) {
    const qp = createConnectionQp(rping.qp);
    rping.postReceives(qp);
    try {
      return await connect(context, { ...to, port: PORT, qp });
    } catch (error) {
      qp.destroy();
      if (!(error instanceof ConnectionRejected) || attempt === 20) throw error;
      assert.equal(error.reasonName, "INVALID_SERVICE_ID");
      await sleep(200);
    }
  }
}

test("a Node program and rping in a VM", async (t) => {
  const session = await startSession(t, { nodes: 1 });
  if (session === undefined) return;
  const socketPath = join(session.lab.runFolder, "node.sock");
  await session.domain.addHca({ name: "node", socketPath });
  const context = openDevice(socketPath);
  await context.portActive();
  const rping = new RpingPeer(context);
  const address = await IpoibAddress.join(context, OUR_IP);
  await t.test("from rping -c", async () => {
    const listener = listen(context, { port: PORT, qp: rping.qp });
    const client = run(session, "n1", `rping -c -v -V -C ${PINGS} -a ${OUR_IP}`);
    client.catch(() => {});
    const request = await listener.next({ timeoutMs: 30_000 });
    assert.deepEqual([request.ip?.source, request.ip?.destination, request.qpType], [GUEST_IP, OUR_IP, "RC"]);
    rping.postReceives(request.qp);
    const connection = await request.accept();
    for (let i = 0; i < PINGS; i++) assert.match(await rping.serve(connection), new RegExp(`^rdma-ping-${i}: `));
    assert.equal((await connection.disconnected({ timeoutMs: 20_000 })).reason, "REMOTE");
    await connection.close();
    const out = await client;
    for (let i = 0; i < PINGS; i++) assert.match(out, new RegExp(`ping data: rdma-ping-${i}: `));
    assert.ok(address.counts.answered > 0, "it asked who has our address");

    const refused = session.lab.node("n1").exec(`rping -c -v -C 1 -a ${OUR_IP}`, { timeoutMs: 60_000 });
    (await listener.next({ timeoutMs: 30_000 })).reject();
    const { status, stderr } = await refused;
    assert.notEqual(status, 0);
    assert.match(stderr, /rdma_connect|REJECTED/i);
    listener.close();
  });

  const guestGid = await address.resolve(GUEST_IP);

  for (const [how, to, listening] of [
    ["by IP", { ip: GUEST_IP, via: address }, ""],
    ["by GID", { dgid: guestGid, sourceIp: OUR_IP, destinationIp: GUEST_IP }, ""],
    // link-local IPv6 addresses in the request, which who listens on IPv4 alone does not take
    ["by GID alone", { dgid: guestGid }, "-a ::0"],
  ] as const) {
    await t.test(`to rping -s, ${how}`, async () => {
      const serving = run(session, "n1", `rping -s -v -C ${PINGS} ${listening}`);
      serving.catch(() => {});
      const connection = await connectWhenReady(context, rping, to);
      for (let i = 0; i < PINGS; i++)
        assert.equal(await rping.ping(connection, `rdma-ping-${i}: from Node`), `rdma-ping-${i}: from Node`);
      await connection.disconnect();
      connection.qp.destroy();
      const out = await serving;
      for (let i = 0; i < PINGS; i++) assert.match(out, new RegExp(`server ping data: rdma-ping-${i}: from Node`));
    });
  }

  await t.test("nobody listens in the guest", async () => {
    await assert.rejects(connect(context, { dgid: guestGid, port: PORT + 1, qp: rping.qp }), /INVALID_SERVICE_ID/);
  });

  await address.close();
  rping.destroy();
  context.close();
});

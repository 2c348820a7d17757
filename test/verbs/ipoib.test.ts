// IPv4 addresses of ports without IP. RFC 4391, 9.1.

import assert from "node:assert/strict";
import { connect, gidText, IpoibAddress, listen } from "../../src/verbs/index.ts";
import { refusal, verbsTest } from "./worlds.ts";

verbsTest("addresses are asked for and answered; connecting by IP", async (world) => {
  const [a, b] = [await world.open(), await world.open()];
  const near = await IpoibAddress.join(a, "10.87.0.50");
  const far = await IpoibAddress.join(b, "10.87.0.51");
  const both = await Promise.all([near.resolve("10.87.0.51"), near.resolve("10.87.0.51"), far.resolve("10.87.0.50")]);
  assert.deepEqual(
    both.map(gidText),
    [b, b, a].map((context) => gidText(context.queryGid())),
  );
  assert.deepEqual([near.counts.answered, far.counts.answered], [1, 2]);
  await assert.rejects(
    near.resolve("10.87.0.52", { timeoutMs: 50 }),
    refusal("EHOSTUNREACH", /10.87.0.52: nobody has answered 1 requests for this address/),
  );
  // this one and its own, which the HCA replicates to all QPs of the group
  assert.equal(far.counts.ignored, 2);
  await assert.rejects(IpoibAddress.join(a, "fe80::1"), refusal("EINVAL", /must be an IPv4 address/));

  const qpOf = (context: typeof a) => {
    const cq = context.createCq(15);
    return { pd: context.allocPd(), sendCq: cq, recvCq: cq };
  };
  const [mine, theirs] = [qpOf(a), qpOf(b)];
  const listener = listen(b, { port: 7, qp: theirs });
  const connecting = connect(a, { ip: "10.87.0.51", via: near, port: 7, qp: mine });
  const request = await listener.next();
  assert.deepEqual([request.ip?.source, request.ip?.destination], ["10.87.0.50", "10.87.0.51"]);
  const [out, back] = await Promise.all([connecting, request.accept()]);
  await out.close();
  await back.close();
  listener.close();
  for (const { pd, sendCq } of [mine, theirs]) {
    pd.destroy();
    sendCq.destroy();
  }
  await near.close();
  await near.close();
  await far.close();
});

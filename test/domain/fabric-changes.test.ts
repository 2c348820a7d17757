// The fabric of a domain with two engine threads, changed while it runs: each change goes to the engine that has the node, what lies between
// engines is one fabric.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { silentLog } from "../../src/base/log.ts";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import type { PathView } from "../../src/fabric/path.ts";

const folder = mkdtempSync(join(tmpdir(), "vhca-fabric-"));
const domain = new DomainHandle({ log: silentLog, engines: 2 });
const { fabric } = domain;
after(async () => {
  await domain.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Asks until the answer is as it has to become. */
async function eventually<T>(ask: () => Promise<T>, isRight: (answer: T) => boolean): Promise<T> {
  for (let i = 0; ; i++) {
    const answer = await ask();
    if (isRight(answer)) return answer;
    assert.ok(i < 1000, JSON.stringify(answer));
    await setTimeout(10);
  }
}

const route = (from: string, to: string, isRight: (path: PathView) => boolean): Promise<PathView> =>
  eventually(() => fabric.path(from, to), isRight);
const arrives = ({ problem }: PathView): boolean => problem === undefined;

test("phantoms on the switches of both engines: found, reached over the cable between them", async () => {
  for (const name of ["h1", "h2"]) await domain.addHca({ name, socketPath: join(folder, name) });
  const added = await fabric.addNode({ kind: "host", name: "p1", portCount: 1, at: ["s1"] });
  assert.equal(added.ports[0]?.peer?.name, "s1");
  await fabric.addNode({ kind: "host", name: "p2", portCount: 1, at: ["s2:20"] });
  const path = await route("p1", "p2", arrives);
  assert.deepEqual(
    path.hops.map(({ node, in: ingress, out }) => [node, ingress, out]),
    [
      ["p1", undefined, 1],
      ["s1", 2, 63 + 1],
      ["s2", 63 + 1, 20],
      ["p2", 1, undefined],
    ],
  );
  assert.equal((await fabric.links(0, 100)).count, 5);
  assert.equal((await fabric.nodes(0, 100)).count, 6);
});

test("the cable between engines can be pulled and plugged in, not more", async () => {
  const down = await fabric.changeLink("s2:64", { isPlugged: false });
  assert.deepEqual([down.a.node, down.b.node, down.state], ["s1", "s2", "DOWN"]);
  await route("p1", "p2", ({ problem }) => problem !== undefined);
  await fabric.changeLink("s2:64", { isPlugged: true });
  await route("p1", "p2", arrives);
  await assert.rejects(fabric.changeLink("s1:64", { width: "1X" }), /leads to another engine; its width and speed cannot be set/);
  await assert.rejects(fabric.removeCable("s1:64"), /leads to another engine and stays/);
});

test("what one engine has can be changed there; what would need two is refused", async () => {
  await fabric.addNode({ kind: "switch", name: "leaf", portCount: 4, at: ["s1"] });
  await fabric.removeCable("p1");
  await fabric.addCable(["p1", "leaf"]);
  assert.equal((await route("p2", "p1", arrives)).hops.map(({ node }) => node).join(" "), "p2 s2 s1 leaf p1");
  const refusals: [() => Promise<unknown>, RegExp][] = [
    [() => fabric.addCable(["leaf", "s2"]), /leaf is on engine 1 and s2 on engine 2; a cable joins ports of one engine/],
    [
      () => fabric.addNode({ kind: "switch", name: "x", portCount: 4, at: ["s2"] }),
      /s2 is on engine 2; switches can be added to engine 1/,
    ],
    [
      () => fabric.addNode({ kind: "host", name: "x", portCount: 2, at: ["s1", "s2"] }),
      /are on different engines; a node is on one/,
    ],
    [() => fabric.addNode({ kind: "host", name: "p2", portCount: 1, at: ["s1"] }), /there is a node named p2 already/],
    [() => fabric.removeNode("s2"), /s2 cannot be removed: HCAs are plugged into it/],
    [() => fabric.removeNode("h1"), /h1 is an HCA/],
    [() => fabric.path("p1", "p3"), /there is no node p3; did you mean p1 or p2\?/],
  ];
  for (const [refused, message] of refusals) await assert.rejects(refused, message);
  await fabric.removeNode("leaf");
  assert.equal((await fabric.path("p1", "p2")).problem, "there is no cable at port 1 of p1");
});

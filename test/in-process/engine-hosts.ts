// A host on each of several engines, brought up by the subnet manager, and what ports have counted since a moment: for tests of what crosses engines.

import assert from "node:assert/strict";
import { SimClock } from "../../src/base/clock.ts";
import { Random } from "../../src/base/random.ts";
import { InProcessFabric, type InProcessFabricOptions } from "../../src/domain/in-process-fabric.ts";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { inspectEnd } from "../../src/fabric/inspect-links.ts";
import { LabFabric } from "../../src/fabric/lab-fabric.ts";
import type { Port } from "../../src/fabric/port.ts";
import type { SwitchNode } from "../../src/fabric/switch-node.ts";
import { PhysState } from "../../src/spec/ib/numbers.ts";
import type { End } from "./pair.ts";

const MS = 1e6;
const SMALL = { logQps: 12, logCqs: 12, logMpts: 12, mtts: 8192 };
/** Of records in the ring between engines that the other end takes and leaves alone. */
const NO_TAG = 0xff;

/** A host on each of several engines. */
export class EngineHosts {
  readonly clock = new SimClock();
  readonly system: InProcessFabric;
  readonly hosts: End[] = [];
  readonly #before = new Map<Port, Record<string, number>>();

  /** @param options how data go */
  constructor(engines: number, options: Pick<InProcessFabricOptions, "dataPath"> = {}) {
    this.system = new InProcessFabric({ clock: this.clock, random: new Random(1), engines, ...options });
    for (let i = 0; i < engines; i++) {
      const { device, node, port } = this.system.addGuest(`h${i + 1}`, 16 << 20, SMALL);
      const pd = device.allocatePd();
      this.hosts.push({ node, device, wire: port, pd, cq: new DriverCompletionQueue(device, 255, pd) });
    }
    this.elapse(300 * MS, 300);
    assert.ok(this.system.guests.every(({ port }) => port.isActive));
  }

  /** Lets `ns` pass in steps, with everything that becomes due in between. */
  elapse(ns: number, steps: number): void {
    for (let i = 0; i < steps; i++) {
      this.clock.advanceNs(ns / steps);
      this.system.domain.settle();
    }
  }

  /** The n-th engine's switch. */
  switch(n: number): SwitchNode {
    const fabric = this.system.engines[n - 1]?.fabric;
    assert.ok(fabric instanceof LabFabric);
    return fabric.switch;
  }

  /** The port of `h1` on its cable to `s1`, of `s1` to `h1`, or of `s1` to `s2`. */
  port(from: string, to: string): Port {
    const n = Number(from.slice(1));
    if (from.startsWith("h")) return this.system.guests[n - 1]!.port;
    const far = to.startsWith("h") ? `${to} ` : `cable to engine ${to.slice(1)}`;
    const port = this.switch(n).ports.find((each) => `${each.peer?.node.name} `.startsWith(far));
    assert.ok(port !== undefined, `${from} has no port to ${to}`);
    return port;
  }

  /** Takes a cable down and lets the subnet manager find other ways. */
  disable(from: string, to: string): void {
    const { node, number } = this.port(from, to);
    node.setPhysState(number, PhysState.DISABLED);
    this.elapse(300 * MS, 300);
  }

  /** Ports along a way, at both ends of each cable. */
  along(way: readonly string[]): { port: Port; isSender: boolean }[] {
    return way.slice(1).flatMap((to, i) => [
      { port: this.port(way[i]!, to), isSender: true },
      { port: this.port(to, way[i]!), isSender: false },
    ]);
  }

  /** From now on, `sent` and `received` say what has been counted since. */
  begin(): void {
    this.#before.clear();
    for (const { fabric } of this.system.engines)
      for (const { a, b } of fabric.fabric.links) for (const port of [a, b]) this.#before.set(port, inspectEnd(port).counters);
  }

  count(port: Port, name: string): number {
    return (inspectEnd(port).counters[name] ?? 0) - (this.#before.get(port)?.[name] ?? 0);
  }

  /** What each port along a way has sent or received. */
  counts(way: readonly string[], sent: string, received: string): number[] {
    return this.along(way).map(({ port, isSender }) => this.count(port, isSender ? sent : received));
  }

  /** All ports of a way have counted the same, which is returned. */
  same(way: readonly string[], sent: string, received: string): number {
    const counts = this.counts(way, sent, received);
    assert.deepEqual(
      counts,
      counts.map(() => counts[0]),
      `${way.join(" ")}: ${sent}`,
    );
    return counts[0]!;
  }

  /** The n-th host. */
  host(name: string): End {
    return this.hosts[Number(name.slice(1)) - 1]!;
  }

  /** Leaves no room in the ring from one engine to another, until the other one has taken some records. */
  fillRing(from: string, to: string): void {
    const { network } = this.system.engines[Number(from.slice(1)) - 1]!.domain;
    const lane = network.laneAt(this.port(from, to).peer!.index)!;
    while (lane.reserve(8, 0, 0, 0)) lane.commit(NO_TAG);
  }
}

// A subnet of switches and simulated hosts on a clock that is moved by hand: what the tests of the fabric and of the subnet
// manager run on.

import { SimClock } from "../base/clock.ts";
import type { EndpointFactory, ManagementEndpoint } from "../mad/endpoint.ts";
import type { CaPort } from "./ca-port.ts";
import { Fabric } from "./fabric.ts";
import type { Impairment } from "./link.ts";
import { SimulatedDriver } from "./simulated-driver.ts";
import type { SwitchNode } from "./switch-node.ts";

export interface SimulatedSubnetOptions {
  readonly switches?: number;
  /** How the switches are joined: each to the next, and in a loop the last to the first. */
  readonly shape?: "line" | "loop";
  readonly portsPerSwitch?: number;
  /** Hosts, dealt to the switches in turn. */
  readonly hosts: number;
  /** Agent behind port 0 of the first switch. */
  readonly endpoint?: EndpointFactory;
  /** Applied to every link. */
  readonly impairment?: Impairment;
  /** Time a host takes to answer an SMP. */
  readonly answerNs?: number;
}

const SWITCH_GUID = 0x0014050000010000n;
const HOST_GUID = 0x0002c90300000000n;
const GUID_STEP = 0x10n;
/** Steps without progress after which `run` gives up: nothing takes so many. */
const MAX_STEPS = 5_000_000;

export class SimulatedSubnet {
  readonly clock: SimClock = new SimClock();
  readonly fabric: Fabric = new Fabric();
  readonly switches: SwitchNode[] = [];
  readonly hosts: SimulatedDriver[] = [];
  readonly endpoint: ManagementEndpoint | undefined;
  readonly #options: SimulatedSubnetOptions;

  constructor(options: SimulatedSubnetOptions) {
    this.#options = options;
    const count = options.switches ?? 1;
    for (let i = 0; i < count; i++) {
      const guid = SWITCH_GUID + GUID_STEP * BigInt(i);
      this.switches.push(this.fabric.addSwitch({ guid, description: `switch ${i}`, portCount: options.portsPerSwitch ?? 36 }));
    }
    const cables = options.shape === "loop" && count > 2 ? count : count - 1;
    for (let i = 0; i < cables; i++) this.joinSwitches(i, (i + 1) % count);
    for (let i = 0; i < options.hosts; i++) this.addHost(i % count);
    const [first] = this.switches;
    this.endpoint = options.endpoint === undefined ? undefined : first?.attachEndpoint(options.endpoint);
  }

  /** A cable between the highest free ports of two switches. */
  joinSwitches(a: number, b: number): void {
    const link = this.fabric.connect(this.#freePort(a, true), this.#freePort(b, true));
    link.impairment = this.#options.impairment;
  }

  /** A host on the lowest free port of a switch, its port not yet enabled. */
  addHost(onSwitch: number): SimulatedDriver {
    const number = this.hosts.length;
    const node = this.fabric.addCa({ nodeGuid: HOST_GUID + GUID_STEP * BigInt(number), description: `host ${number}` });
    const port = node.ports[1];
    if (port === undefined) throw new Error("invariant: a CA has a port 1");
    this.fabric.connect(port, this.#freePort(onSwitch, false)).impairment = this.#options.impairment;
    const host = new SimulatedDriver(port);
    host.answerNs = this.#options.answerNs ?? 0;
    this.hosts.push(host);
    return host;
  }

  enableAll(): void {
    for (const { port } of this.hosts) port.enable();
  }

  host(number: number): SimulatedDriver {
    const host = this.hosts[number];
    if (host === undefined) throw new Error(`no host ${number}`);
    return host;
  }

  port(number: number): CaPort {
    return this.host(number).port;
  }

  /** Runs until `isDone` holds, at most `limitNs` of simulated time; returns whether it came to hold. */
  run(isDone: () => boolean, limitNs: number): boolean {
    const endNs = this.clock.nowNs() + limitNs;
    for (let step = 0; step < MAX_STEPS; step++) {
      this.fabric.step(this.clock.nowNs());
      for (const host of this.hosts) host.step(this.clock.nowNs());
      if (isDone()) return true;
      let nextNs = this.fabric.nextDeadlineNs();
      for (const host of this.hosts) nextNs = Math.min(nextNs, host.nextDeadlineNs());
      if (nextNs > endNs) break;
      this.clock.advanceNs(Math.max(0, nextNs - this.clock.nowNs()));
    }
    return isDone();
  }

  /** Lets `durationNs` go by. */
  runFor(durationNs: number): void {
    const endNs = this.clock.nowNs() + durationNs;
    this.run(() => false, durationNs);
    this.clock.advanceNs(Math.max(0, endNs - this.clock.nowNs()));
    this.fabric.step(this.clock.nowNs());
  }

  #freePort(onSwitch: number, fromTop: boolean) {
    const ports = this.switches[onSwitch]?.ports.filter((port) => port.number > 0 && port.link === undefined) ?? [];
    const port = fromTop ? ports.at(-1) : ports[0];
    if (port === undefined) throw new Error(`switch ${onSwitch} has no free port`);
    return port;
  }
}

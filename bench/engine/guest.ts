// A guest without a VM: this process connects to an HCA's socket, loads the driver and answers the subnet manager until the port
// is ACTIVE.

import type { DomainView } from "../../src/domain/protocol.ts";
import { SocketAccess } from "../../src/driver/backends/socket-access.ts";
import { Device, type DeviceOptions } from "../../src/driver/device.ts";
import { ManagementAgent } from "../../src/driver/management-agent.ts";
import { PortState } from "../../src/spec/ib/numbers.ts";
import { memfdPaths } from "./domain.ts";

const TIMEOUT_MS = 60_000;
const MIB = 2 ** 20;

/** A device domain as its guests see it. */
export interface Domain {
  socketPath(name: string): string;
  describe(): Promise<DomainView>;
}

export interface Guest {
  readonly name: string;
  readonly access: SocketAccess;
  readonly device: Device;
  readonly lid: number;
  /** Path under which another process can open the guest's memory. */
  readonly ramPath: string;
}

export interface GuestOptions extends DeviceOptions {
  /** DMA memory, in MiB. */
  readonly memoryMiB?: number;
}

/** Connects to the HCAs of these names, all at once; resolves once every port is ACTIVE. */
export async function bootGuests(domain: Domain, names: readonly string[], options: GuestOptions = {}): Promise<Guest[]> {
  const booting = names.map((name) => {
    const access = new SocketAccess(domain.socketPath(name), (options.memoryMiB ?? 64) * MIB);
    const ramPath = memfdPaths(process.pid, "vhca-guest").at(-1) ?? "";
    const device = new Device(access, { mtts: 2 ** 16, ...options });
    return { name, access, ramPath, device, agent: new ManagementAgent(device) };
  });
  const deadline = performance.now() + TIMEOUT_MS;
  for (;;) {
    for (const { access, agent } of booting) {
      access.settle();
      agent.run();
    }
    const { hcas } = await domain.describe();
    const lids = booting.map(({ name }) => hcas.find((h) => h.name === name && h.portState === PortState.ACTIVE)?.lid ?? 0);
    if (lids.every((lid) => lid > 0)) {
      return booting.map(({ name, access, ramPath, device }, i) => ({ name, access, ramPath, device, lid: lids[i] ?? 0 }));
    }
    if (performance.now() > deadline) throw new Error(`the ports of ${names.join(", ")} did not become active`);
  }
}

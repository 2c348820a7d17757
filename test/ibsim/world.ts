// A fabric of a netlist with the server for ibsim's clients, under a simulated clock.

import { silentLog } from "../../src/base/log.ts";
import { Random } from "../../src/base/random.ts";
import { parseNetlist } from "../../src/fabric/topology/netlist.ts";
import { TopologyFabric } from "../../src/fabric/topology-fabric.ts";
import { IbsimServer } from "../../src/ibsim/server.ts";
import { RawClient } from "./raw-client.ts";

/** Two leaves with two hosts each. */
export const NETLIST = `
switchguid=0x200001
Switch 8 "S1" # "leaf one"
[1] "H1"[1]
[2] "H2"[1]
[8] "S2"[8]

switchguid=0x200002
Switch 8 "S2" # "leaf two"
[1] "H3"[1]
[2] "H4"[1]
[8] "S1"[8]

caguid=0x100010
Ca 1 "H1" # "host one"
[1] "S1"[1]

vendid=0x1425
devid=25205
caguid=0x100020
Ca 1 "H2" # "host two"
[1] "S1"[2]

caguid=0x100030
Ca 1 "H3" # "host three"
[1] "S2"[1]

caguid=0x100040
Ca 1 "H4" # "host four"
[1] "S2"[2]
`;

let worlds = 0;

export class World {
  readonly base: string;
  readonly fabric: TopologyFabric;
  readonly server: IbsimServer;
  nowNs = 1;
  readonly #clients: RawClient[] = [];

  constructor(netlist = NETLIST, uid = process.getuid?.() ?? 0) {
    this.base = `vhca-test-${process.pid}-${worlds++}`;
    this.fabric = new TopologyFabric({ topology: parseNetlist(netlist, "test"), random: new Random(1) });
    this.server = new IbsimServer({ fabric: this.fabric.fabric, baseName: this.base, uid, log: silentLog });
  }

  /** Lets `ns` go by, and all work be done that there is. */
  run(ns = 0): void {
    this.nowNs += ns;
    while (this.server.poll(this.nowNs) + this.fabric.step(this.nowNs) > 0);
  }

  newClient(id?: number): RawClient {
    const client = new RawClient(this.base, () => this.run(), id);
    this.#clients.push(client);
    return client;
  }

  close(): void {
    for (const client of this.#clients) client.close();
    this.server.close();
  }
}

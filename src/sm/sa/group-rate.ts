// The rate of a group that the manager has made itself (IPoIB's broadcast groups): that of the slowest host, so that everybody can join.
// While it has members it only goes down, when a slower one joins; who has joined before keeps what it was told.

import type { SubnetPort } from "../subnet.ts";
import type { Group } from "./groups.ts";
import { linkRateRank, rateAt, rateRank } from "./rates.ts";

/** Before `joiner` joins. @param ports all end ports of the subnet */
export function adaptRate(group: Group, joiner: SubnetPort, ports: Iterable<SubnetPort>): void {
  let rank = linkRateRank(joiner.info);
  if (group.members.size > 0) rank = Math.min(rank, rateRank(group.rate));
  else {
    for (const port of ports) if (!port.node.isSwitch && port.isPresent) rank = Math.min(rank, linkRateRank(port.info));
  }
  group.rate = rateAt(rank);
}

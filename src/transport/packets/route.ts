// Where packets of a queue pair leave, looked up again when the network has changed.

import { Service } from "../../spec/ib/numbers.ts";
import { AdapterCounter } from "../counters.ts";
import type { QueuePair } from "../queue-pair.ts";
import { Connection } from "./connection.ts";
import type { PacketLane } from "./ring.ts";

/** What `qp` remembers of packets, made when first needed. */
export function connectionOf(qp: QueuePair): Connection {
  qp.connection ??= new Connection();
  return qp.connection;
}

/** The lane to the peer of a connected queue pair; undefined if packets do not reach it at this time. */
export function laneOf(qp: QueuePair): PacketLane | undefined {
  const c = connectionOf(qp);
  const { network } = qp.adapter;
  const { wire } = qp.port;
  if (c.networkEpoch === network.epoch && c.wireEpoch === wire.epoch) return c.lane;
  c.networkEpoch = network.epoch;
  c.wireEpoch = wire.epoch;
  c.lane = findLane(qp);
  c.isLeaving = c.lane !== undefined && !qp.port.needsPackets(qp.attributes.rlid, qp.service === Service.RC);
  return c.lane;
}

function findLane(qp: QueuePair): PacketLane | undefined {
  const { rlid, mtuCode } = qp.attributes;
  if (mtuCode <= qp.port.wire.mtuCode) return qp.port.laneTo(rlid);
  qp.adapter.counters[AdapterCounter.droppedTooLong]! += 1;
  return undefined;
}

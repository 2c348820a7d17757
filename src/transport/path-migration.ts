// Automatic path migration of connected queue pairs. A connection is armed when both ends have asked for it and heard of each
// other; it moves to the alternate path when the primary one fails or when software says so, and takes the other end along.
// IBA vol 1, 17.2.8; docs "infinihost" 4.1 (path-migration state), 4.1.4.

import { AddressPath, ALTERNATE_PATH_AT, PathMigration, PRIMARY_PATH_AT } from "../spec/hca/contexts.ts";
import { EventType } from "../spec/hca/queues.ts";
import { AdapterCounter } from "./counters.ts";
import { type AdapterPort, pkeysMatch } from "./port.ts";
import type { QueuePair } from "./queue-pair.ts";

/** Both ends of a connection have spoken; those that asked for it are armed now (17.2.8.1.1). */
export function noteArming(qp: QueuePair, peer: QueuePair): void {
  if (qp.migration === PathMigration.REARM) qp.migration = PathMigration.ARMED;
  if (peer.migration === PathMigration.REARM) peer.migration = PathMigration.ARMED;
}

/** Moves to the alternate path: the two change places in the context, and the driver hears of it (17.2.8.1.2). */
export function migrate(qp: QueuePair): void {
  const { context, contextAt, adapter } = qp;
  const primary = contextAt + PRIMARY_PATH_AT;
  const alternate = contextAt + ALTERNATE_PATH_AT;
  for (let i = 0; i < AddressPath.byteLength; i += 4) {
    const word = context.getInt32(primary + i);
    context.setInt32(primary + i, context.getInt32(alternate + i));
    context.setInt32(alternate + i, word);
  }
  qp.attributes.decode(context, contextAt);
  qp.port = adapter.ports[AddressPath.port.get(context, primary) - 1] ?? qp.port;
  qp.migration = PathMigration.MIGRATED;
  qp.retriesLeft = qp.attributes.retryCount;
  adapter.counters[AdapterCounter.pathMigrations]! += 1;
  adapter.events.qpEvent(EventType.PATH_MIGRATED, qp.number);
  adapter.network.connectionsChanged();
}

/**
 * The other end of `qp` has migrated: its packets say so, and come to `port` from LID `slid` with that P_Key.
 * @returns false if that is not the alternate path that `qp` was given: the packets are dropped (17.2.8.1.3)
 */
export function followMigration(qp: QueuePair, port: AdapterPort, slid: number, pkey: number): boolean {
  if (isAlternatePath(qp, port, slid, pkey)) {
    migrate(qp);
    return true;
  }
  if (!qp.hasRefusedMigration) {
    qp.hasRefusedMigration = true;
    qp.adapter.counters[AdapterCounter.pathMigrationFailures]! += 1;
    qp.adapter.events.qpEvent(EventType.PATH_MIGRATION_FAILED, qp.number);
  }
  return false;
}

function isAlternatePath({ context, contextAt, adapter }: QueuePair, port: AdapterPort, slid: number, pkey: number): boolean {
  const path = contextAt + ALTERNATE_PATH_AT;
  const isPort = adapter.ports[AddressPath.port.get(context, path) - 1] === port;
  const ours = port.pkey(AddressPath.pkeyIndex.get(context, path));
  return isPort && AddressPath.rlid.get(context, path) === slid && pkeysMatch(pkey, ours);
}

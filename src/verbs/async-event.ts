// Asynchronous events: what happens to objects without anybody having asked. IBA vol 1, 11.6.3; docs "infinihost" 5.8.

import type { DeviceEvent } from "../driver/event-queue.ts";
import { EventType, PortChange } from "../spec/hca/queues.ts";
import type { CompletionQueue } from "./completion-queue.ts";
import type { Context } from "./context.ts";
import type { QueuePair } from "./queue-pair.ts";
import type { SharedReceiveQueue } from "./shared-receive-queue.ts";

export type QpEventType =
  | "PATH_MIG"
  | "COMM_EST"
  | "SQ_DRAINED"
  | "QP_FATAL"
  | "PATH_MIG_ERR"
  | "QP_REQ_ERR"
  | "QP_ACCESS_ERR"
  | "QP_LAST_WQE_REACHED";
export type SrqEventType = "SRQ_ERR" | "SRQ_LIMIT_REACHED";
export type PortEventType = "PORT_ACTIVE" | "PORT_ERR";

/** One event, and what it is about; libibverbs' names (ibv_event_type). */
export type AsyncEvent =
  | { readonly eventType: QpEventType; readonly qp: QueuePair }
  | { readonly eventType: "CQ_ERR"; readonly cq: CompletionQueue }
  | { readonly eventType: SrqEventType; readonly srq: SharedReceiveQueue }
  | { readonly eventType: PortEventType; readonly portNum: number }
  | { readonly eventType: "DEVICE_FATAL" };

const qpEvents: Readonly<Record<number, QpEventType>> = {
  [EventType.PATH_MIGRATED]: "PATH_MIG",
  [EventType.COMM_ESTABLISHED]: "COMM_EST",
  [EventType.SQ_DRAINED]: "SQ_DRAINED",
  [EventType.WQ_CATASTROPHIC]: "QP_FATAL",
  [EventType.PATH_MIGRATION_FAILED]: "PATH_MIG_ERR",
  [EventType.WQ_INVALID_REQUEST]: "QP_REQ_ERR",
  [EventType.WQ_ACCESS_VIOLATION]: "QP_ACCESS_ERR",
  [EventType.SRQ_LAST_WQE]: "QP_LAST_WQE_REACHED",
};
const srqEvents: Readonly<Record<number, SrqEventType>> = {
  [EventType.SRQ_CATASTROPHIC]: "SRQ_ERR",
  [EventType.SRQ_LIMIT]: "SRQ_LIMIT_REACHED",
};

/** The event as its objects know it; undefined if the object has gone in the meantime. */
export function asyncEventOf(context: Context, event: DeviceEvent): AsyncEvent | undefined {
  const { type, number, subType, port } = event;
  const qpEvent = qpEvents[type];
  if (qpEvent !== undefined) {
    const qp = context.qps.get(number);
    return qp === undefined ? undefined : { eventType: qpEvent, qp };
  }
  const srqEvent = srqEvents[type];
  if (srqEvent !== undefined) {
    const srq = context.srqs.get(number);
    return srq === undefined ? undefined : { eventType: srqEvent, srq };
  }
  switch (type) {
    case EventType.CQ_ERROR: {
      const cq = context.cqs.get(number);
      return cq === undefined ? undefined : { eventType: "CQ_ERR", cq };
    }
    case EventType.PORT_CHANGE:
      return { eventType: subType === PortChange.ACTIVE ? "PORT_ACTIVE" : "PORT_ERR", portNum: port };
    case EventType.LOCAL_CATASTROPHIC:
    case EventType.EQ_OVERFLOW:
      return { eventType: "DEVICE_FATAL" };
    default:
      return undefined;
  }
}

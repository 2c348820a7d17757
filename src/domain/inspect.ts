// What a device domain says of one HCA: what the device says of itself (hca/inspect.ts), and who is at its socket.

import { countersObject } from "../base/counters.ts";
import { addressText, type Listing } from "../base/inspect.ts";
import {
  type DeviceView,
  type InspectOptions,
  inspectDevice,
  inspectList,
  inspectObject,
  type ListKind,
  type ObjectKind,
  type ObjectViews,
} from "../hca/inspect.ts";
import { ServerCounter } from "../vfio-user/counters.ts";
import type { HcaFunction } from "./hca-function.ts";

/** Objects of a kind in one answer, whatever is asked for. */
export const LISTED_MAX = 4096;
/** DMA ranges in one answer. */
const RANGES_SHOWN = 64;
const SESSION_ERRORS = [
  ...["unknown", "errors", "refusedInvalid", "refusedUnsupported", "refusedOther", "unexpectedReplies"],
  ...["framingErrors", "truncatedMessages", "interruptsUnroutable"],
];

/** The VMM at the socket. */
export interface SessionView {
  readonly socketPath: string;
  readonly isConnected: boolean;
  readonly doorbells: "mapped" | "trapped";
  /** Guest memory that the device can reach. */
  readonly memoryBytes: number;
  readonly ranges: Listing<{ readonly start: string; readonly length: number; readonly isWritable: boolean }>;
  readonly messages: Record<string, number>;
  readonly errors: Record<string, number>;
}

/** An HCA without its many objects. */
export interface HcaDeviceView extends DeviceView {
  readonly name: string;
  readonly nodeGuid: string;
  readonly session: SessionView;
}

/** An HCA with its objects: each listing holds as many as were asked for, at most `LISTED_MAX`. */
export type HcaTree = HcaDeviceView & { readonly [K in ListKind]: Listing<ObjectViews[K]> };

/** What may be asked of one HCA, each in a bounded time. */
export type InspectQuestion =
  | { readonly part: "device" }
  | { readonly part: "list"; readonly kind: ListKind; readonly from: number; readonly limit: number }
  | { readonly part: "object"; readonly kind: ObjectKind; readonly number: number };

export interface InspectedHca {
  readonly fn: HcaFunction;
  readonly nodeGuid: string;
  readonly socketPath: string;
  readonly doorbells: "mapped" | "trapped";
  readonly isConnected: boolean;
  readonly serverCounters: Float64Array;
}

/** @throws NotFoundError if there is no such object */
export function answerInspect(inspected: InspectedHca, question: InspectQuestion, options: InspectOptions): unknown {
  const { hca } = inspected.fn;
  switch (question.part) {
    case "device":
      return deviceView(inspected);
    case "list":
      return inspectList(hca, question.kind, question.from, question.limit, options);
    case "object":
      return inspectObject(hca, question.kind, question.number, options);
  }
}

function deviceView(inspected: InspectedHca): HcaDeviceView {
  const { fn, nodeGuid } = inspected;
  return { name: fn.hca.name, nodeGuid, ...inspectDevice(fn.hca), session: sessionView(inspected) };
}

function sessionView({ fn, socketPath, doorbells, isConnected, serverCounters }: InspectedHca): SessionView {
  const ranges = fn.dma.describe();
  const counters = Object.entries(countersObject(ServerCounter, serverCounters));
  return {
    socketPath,
    isConnected,
    doorbells,
    memoryBytes: fn.dma.mappedBytes,
    ranges: {
      count: ranges.length,
      isCut: ranges.length > RANGES_SHOWN,
      items: ranges
        .slice(0, RANGES_SHOWN)
        .map(({ start, length, writable }) => ({ start: addressText(start), length, isWritable: writable })),
    },
    messages: Object.fromEntries(counters.filter(([name]) => !SESSION_ERRORS.includes(name))),
    errors: Object.fromEntries(counters.filter(([name]) => SESSION_ERRORS.includes(name))),
  };
}

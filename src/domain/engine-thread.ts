// Entry of the engine thread: owns the device domain and runs its loop until told to stop.

import { randomInt } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { countersObject, newCounters } from "../base/counters.ts";
import { NotFoundError } from "../base/inspect.ts";
import type { Log } from "../base/log.ts";
import { Random } from "../base/random.ts";
import { systemClock } from "../host/clock.ts";
import { drainEventfd } from "../host/eventfd.ts";
import { preferThisThread, setTimerSlack } from "../host/thread.ts";
import { collectAndTrim, trimMalloc } from "../host/thrift.ts";
import { DeviceDomain } from "./device-domain.ts";
import { LoopCounter, measureSleepCostNs, runEngine } from "./engine-loop.ts";
import { ibsimWarmUpSteps } from "./ibsim-warm-up.ts";
import type { EngineOptions, EngineReply, EngineRequest } from "./protocol.ts";
import { fabricWarmUpSteps, warmUpSteps } from "./warm-up.ts";

// V8 takes packets in the fabric's queue, which many live through a collection together, for objects that live long, and makes all later ones in
// the old generation: hundreds of megabytes for OpenSM's sweep of a thousand hosts, and the collections that find them dead.
setFlagsFromString("--no-allocation-site-pretenuring");

const port = parentPort;
if (port === null) throw new Error("invariant: the engine runs in a worker thread");
const options = workerData as EngineOptions;
const hasTopology = options.topology !== undefined;
const { bell, place, trunks } = options;
const doorbell = new Int32Array(bell.doorbell);
const sleepers = new Int32Array(options.sleepers);

const send = (reply: EngineReply): void => port.postMessage(reply);
const log: Log = {
  debug: (message) => send({ log: "debug", message }),
  info: (message) => send({ log: "info", message }),
  warn: (message) => send({ log: "warn", message }),
};

const counters = newCounters(LoopCounter);
const random = new Random(randomInt(2 ** 32));
const domain = new DeviceDomain({
  clock: systemClock,
  log,
  random,
  sm: options.sm,
  manager: options.manager,
  place,
  topology: options.topology,
  dataPath: options.dataPath,
});
// Built: what it was built from can go.
options.topology = undefined;
for (const trunk of trunks) domain.join(trunk, sleepers);
let isStopping = false;

function handle(request: EngineRequest): unknown {
  switch (request.method) {
    case "addHca":
      return domain.addHca({ doorbells: "mapped", ...request.hca });
    case "removeHca":
      return domain.removeHca(request.name);
    case "describe":
      return {
        ...domain.describe(),
        engine: { ...countersObject(LoopCounter, counters), ...domain.lostPackets, ...domain.ibsimCounts },
      };
    case "nodes":
      return domain.inspectNodes(request.from, request.limit);
    case "links":
      return domain.inspectLinks(request.from, request.limit);
    case "fabric":
      return domain.operateFabric(request.operation);
    case "faults":
      return domain.operateFaults(request.operation);
    case "inspect":
      return domain.inspect(request.name, request.question);
    case "startCapture":
      domain.startCapture(request.capture);
      // What lies between this thread's clock and the one that all threads share.
      return process.hrtime.bigint() - BigInt(systemClock.nowNs());
    case "stopCapture":
      domain.stopCapture();
      return true;
    case "serveIbsim":
      domain.serveIbsim(request.baseName, request.uid);
      return true;
    case "stop":
      isStopping = true;
      domain.close();
      return true;
  }
}

/** Answers the requests that wait; a plain load tells that there are none. */
function attend(): boolean {
  if (doorbell[0] === 0) return true;
  Atomics.store(doorbell, 0, 0);
  drainEventfd(bell.wakeDescriptor);
  for (let item = receiveMessageOnPort(port!); item !== undefined; item = receiveMessageOnPort(port!)) {
    const request = item.message as EngineRequest;
    try {
      send({ id: request.id, value: handle(request) });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      send({ id: request.id, error: message, isNotFound: error instanceof NotFoundError });
    }
  }
  return !isStopping;
}

/** Of the warm-up, for as long as the engine runs. */
const kept: unknown[] = [];

function* warmUp(): Generator<void, void> {
  if (hasTopology && !(domain.servesIbsim && options.sm === "none")) yield* fabricWarmUpSteps(random);
  yield* warmUpSteps(systemClock, random);
  // Last: what others do with the same objects can undo it.
  if (domain.servesIbsim) kept.push(yield* ibsimWarmUpSteps(systemClock, random));
  yield;
  // Guests that are there do not work when this is gone on with, but may begin.
  if (domain.connectedCount === 0) collectAndTrim();
  else trimMalloc();
}

preferThisThread();
// Sleeps of tens of microseconds only make sense if the kernel takes them at their word.
setTimerSlack(1);
runEngine({
  domain,
  clock: systemClock,
  cores: options.cores,
  sleepCostNs: measureSleepCostNs(),
  wakeDescriptor: bell.wakeDescriptor,
  sleepers,
  index: place.index,
  attend,
  counters,
  warmUp: warmUp(),
});

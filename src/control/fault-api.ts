// The part of the control API that injects faults.
//
//   GET    /v1/faults             → FaultsView: what is wrong now, on purpose, and counts since the domain started
//   POST   /v1/faults             Fault → FaultsView
//   POST   /v1/faults/plan        FaultPlan → FaultsView: faults at their times, in the place of a plan that runs
//   DELETE /v1/faults             → FaultsView: all of them end, and the plan
//
// Times are nanoseconds; bounds are those of domain/faults.

import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { MAX_TIME_NS, PLAN_STEPS_MAX } from "../domain/faults/faults.ts";
import type { FaultsHandle } from "../domain/faults-handle.ts";
import { FaultValues } from "./fabric-api.ts";

const end = z.string().min(1).max(100);
const TIME = `expected 0 to ${MAX_TIME_NS / 1e9} s (a week)`;
const timeNs = z.number().min(0, TIME).max(MAX_TIME_NS, TIME);
const forNs = timeNs.optional();

const Fault = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("spoil"), end, faults: FaultValues, forNs }),
  z.strictObject({ kind: z.literal("pull"), end, forNs }),
  z.strictObject({ kind: z.literal("flap"), end, downNs: timeNs, upNs: timeNs, times: z.number().int() }),
  z.strictObject({ kind: z.literal("freeze"), hca: end, forNs }),
  z.strictObject({ kind: z.literal("sm"), forNs }),
  z.strictObject({ kind: z.literal("clear"), what: end.optional() }),
]);

const FaultPlan = z.strictObject({
  seed: z.number().int(),
  steps: z.array(z.strictObject({ atNs: timeNs, fault: Fault })).max(PLAN_STEPS_MAX),
});

export function addFaultRoutes(app: FastifyInstance, faults: FaultsHandle): void {
  app.get("/v1/faults", () => faults.view());
  app.post("/v1/faults", (request) => faults.inject(Fault.parse(request.body)));
  app.post("/v1/faults/plan", (request) => faults.start(FaultPlan.parse(request.body)));
  app.delete("/v1/faults", () => faults.inject({ kind: "clear" }));
}

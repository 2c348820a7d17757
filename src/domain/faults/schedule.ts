// Schedules of faults as YAML:
//
//   seed: 7                                               what is left to chance; another each time if left out
//   faults:
//     - { at: 1s, link: "n1:1", loss: 1%, corruption: 0.1%, delay: 5us, for: 5s }
//     - { at: [2s, 4s], pull: random, for: 500ms }        at some time between, some cable between two switches
//     - { at: 3s, flap: "leaf1:3", down: 200ms, up: 1s, times: 3 }
//     - { at: 5s, freeze: n2, for: 1s }
//     - { at: 6s, sm: down, for: 2s }
//     - { at: 1s, every: 3s, repeat: 10, pull: random, for: 1s }
//     - { at: 60s, clear: all }                           or one: n1:1, n2, sm
//
// Without `for`, a fault stays until it is cleared.

import { z } from "zod";
import { NotFoundError } from "../../base/inspect.ts";
import type { Random } from "../../base/random.ts";
import { TopologyError } from "../../fabric/topology/topology.ts";
import { duration, integer, part, readYaml, strict, unknownText } from "../../fabric/topology/yaml-document.ts";
import { FLAPS_MAX, MAX_TIME_NS, PLAN_STEPS_MAX } from "./faults.ts";
import type { Fault, FaultPlan, FaultStep } from "./operations.ts";

const KINDS = ["link", "pull", "flap", "freeze", "sm", "clear"] as const;
/** What each kind takes beside its own key. */
const TAKES: Readonly<Record<(typeof KINDS)[number], readonly string[]>> = {
  link: ["loss", "corruption", "delay", "for"],
  pull: ["for"],
  flap: ["down", "up", "times"],
  freeze: ["for"],
  sm: ["for"],
  clear: [],
};
const ALWAYS = ["at", "every", "repeat"];
const RANDOM = "random";

const text = z.string();
const AT = "expected a time such as 500ms or 2s, or two of them for a time between: [1s, 3s]";
const Entry = strict({
  at: z.union([duration, z.tuple([duration, duration])], { error: AT }),
  every: duration.optional(),
  repeat: integer.optional(),
  link: text.optional(),
  loss: part.optional(),
  corruption: part.optional(),
  delay: duration.optional(),
  pull: text.optional(),
  flap: text.optional(),
  down: duration.optional(),
  up: duration.optional(),
  times: integer.optional(),
  freeze: text.optional(),
  sm: z.literal("down", { error: "expected sm: down" }).optional(),
  clear: text.optional(),
  for: duration.optional(),
}).superRefine((entry, context) => {
  const message = problemOf(entry);
  if (message !== undefined) context.addIssue({ code: "custom", message, input: entry });
});
type Entry = z.output<typeof Entry>;

const sections = { seed: integer.optional(), faults: z.array(Entry, { error: "expected a list of faults" }) };
const Schedule = z.strictObject(sections, {
  error: (issue) => {
    if (issue.code === "unrecognized_keys") return unknownText(issue.keys, sections);
    return issue.code === "invalid_type" ? "expected faults: and, if wanted, seed:" : undefined;
  },
});
export type Schedule = z.output<typeof Schedule>;

/** What does not fit together in one entry. */
function problemOf(entry: Record<string, unknown>): string | undefined {
  const given = Object.keys(entry).filter((key) => entry[key] !== undefined);
  const [kind, second] = KINDS.filter((each) => given.includes(each));
  if (kind === undefined || second !== undefined) return `expected one of ${KINDS.join(", ")}`;
  const strange = given.find((key) => key !== kind && ![...ALWAYS, ...TAKES[kind]].includes(key));
  if (strange !== undefined) return `${kind} does not take ${strange}; it takes ${TAKES[kind].join(", ") || "nothing more"}`;
  if (kind === "link" && !["loss", "corruption", "delay"].some((key) => given.includes(key)))
    return "link needs loss, corruption or delay";
  if (kind === "flap" && !(given.includes("down") && given.includes("up"))) return "flap needs down and up, two times";
  if (kind === "flap" && [entry.down, entry.up].includes(0)) return "flap needs down and up above 0";
  if (entry.for === 0) return "expected for above 0; a fault without for stays until it is cleared";
  return given.includes("repeat") !== given.includes("every") ? "expected every and repeat together" : undefined;
}

/** @throws TopologyError with the line, what was expected there and what was found */
export function parseSchedule(yaml: string, source: string): Schedule {
  const { data, lineOf } = readYaml(Schedule, yaml, source);
  let steps = 0;
  for (const [i, { repeat = 1, times = 1, at, every = 0 }] of data.faults.entries()) {
    const refuse = (what: string): never => {
      throw new TopologyError(source, lineOf(["faults", i]), what);
    };
    if (repeat < 1) refuse(`expected to repeat once at least, got ${repeat}`);
    if (times < 1 || times > FLAPS_MAX) refuse(`expected 1 to ${FLAPS_MAX} times, got ${times}`);
    steps += repeat;
    if (steps > PLAN_STEPS_MAX) refuse(`expected at most ${PLAN_STEPS_MAX} faults in all, got ${steps}`);
    if (Math.max(...[at].flat()) + repeat * every > MAX_TIME_NS) refuse(`expected an end within ${MAX_TIME_NS / 1e9} s`);
  }
  return data;
}

/**
 * When what happens: chance decided by the seed.
 * @param cables the cables between switches, for `random`
 * @throws NotFoundError if there is none and one is wanted
 */
export function planOf(schedule: Schedule, random: Random, cables: readonly string[]): FaultPlan {
  const steps: FaultStep[] = [];
  for (const entry of schedule.faults) {
    for (let i = 0; i < (entry.repeat ?? 1); i++) {
      const atNs = timeOf(entry.at, random) + i * (entry.every ?? 0);
      steps.push({ atNs, fault: faultOf(entry, (end) => chosen(end, random, cables)) });
    }
  }
  return { seed: random.seed, steps: steps.sort((a, b) => a.atNs - b.atNs) };
}

function timeOf(at: Entry["at"], random: Random): number {
  if (typeof at === "number") return at;
  const [from, to] = at;
  return from + random.below(Math.max(1, to - from + 1));
}

function chosen(end: string, random: Random, cables: readonly string[]): string {
  if (end !== RANDOM) return end;
  if (cables.length === 0) throw new NotFoundError("random: expected a cable between two switches, and the fabric has none");
  return random.pick(cables);
}

function faultOf(entry: Entry, choose: (end: string) => string): Fault {
  const { link, pull, flap, freeze, sm, clear, for: forNs } = entry;
  const time = forNs === undefined ? {} : { forNs };
  if (link !== undefined) return { kind: "spoil", end: choose(link), faults: valuesOf(entry), ...time };
  if (pull !== undefined) return { kind: "pull", end: choose(pull), ...time };
  if (flap !== undefined) {
    const { down = 0, up = 0, times = 1 } = entry;
    return { kind: "flap", end: choose(flap), downNs: down, upNs: up, times };
  }
  if (freeze !== undefined) return { kind: "freeze", hca: freeze, ...time };
  if (sm !== undefined) return { kind: "sm", ...time };
  return { kind: "clear", ...(clear === undefined || clear === "all" ? {} : { what: clear }) };
}

const valuesOf = ({ loss, corruption, delay }: Entry): { loss?: number; corruption?: number; delayNs?: number } => ({
  ...(loss === undefined ? {} : { loss }),
  ...(corruption === undefined ? {} : { corruption }),
  ...(delay === undefined ? {} : { delayNs: delay }),
});

// Which attributes each transition of a queue pair needs and takes. IBA vol 1, 10.3.1, table 91 (11.2.4.2).

import { VerbsError } from "./error.ts";

export type QpType = "RC" | "UC" | "UD";
export type QpStateName = "RESET" | "INIT" | "RTR" | "RTS" | "SQD" | "SQE" | "ERR";

/** Attributes by name, without the states. */
export type QpAttributeName =
  | "enSqdAsyncNotify"
  | "qpAccessFlags"
  | "pkeyIndex"
  | "portNum"
  | "qkey"
  | "ahAttr"
  | "pathMtu"
  | "timeout"
  | "retryCnt"
  | "rnrRetry"
  | "rqPsn"
  | "maxRdAtomic"
  | "alternatePath"
  | "minRnrTimer"
  | "sqPsn"
  | "maxDestRdAtomic"
  | "pathMigState"
  | "destQpNum";

interface Rule {
  readonly required: readonly QpAttributeName[];
  readonly optional: readonly QpAttributeName[];
}
type Rules = Readonly<Record<QpType, Rule>>;

const rule = (required: readonly QpAttributeName[], optional: readonly QpAttributeName[] = []): Rule => ({ required, optional });
const NOTHING: Rules = { RC: rule([]), UC: rule([]), UD: rule([]) };
const RUNNING_UC = ["qpAccessFlags", "alternatePath", "pathMigState"] as const;
const RUNNING_RC = [...RUNNING_UC, "minRnrTimer"] as const;
const RUNNING: Rules = { RC: rule([], RUNNING_RC), UC: rule([], RUNNING_UC), UD: rule([], ["qkey"]) };
const INIT_CONNECTED = ["pkeyIndex", "portNum", "qpAccessFlags"] as const;
const INIT_UD = ["pkeyIndex", "portNum", "qkey"] as const;
const RTR_UC = ["ahAttr", "pathMtu", "destQpNum", "rqPsn"] as const;
const RTR_OPTIONAL = ["alternatePath", "qpAccessFlags", "pkeyIndex"] as const;

const table: ReadonlyMap<string, Rules> = new Map<string, Rules>([
  ["RESET INIT", { RC: rule(INIT_CONNECTED), UC: rule(INIT_CONNECTED), UD: rule(INIT_UD) }],
  ["INIT INIT", { RC: rule([], INIT_CONNECTED), UC: rule([], INIT_CONNECTED), UD: rule([], INIT_UD) }],
  [
    "INIT RTR",
    {
      RC: rule([...RTR_UC, "maxDestRdAtomic", "minRnrTimer"], RTR_OPTIONAL),
      UC: rule(RTR_UC, RTR_OPTIONAL),
      UD: rule([], ["pkeyIndex", "qkey"]),
    },
  ],
  [
    "RTR RTS",
    {
      RC: rule(["timeout", "retryCnt", "rnrRetry", "sqPsn", "maxRdAtomic"], RUNNING_RC),
      UC: rule(["sqPsn"], RUNNING_UC),
      UD: rule(["sqPsn"], ["qkey"]),
    },
  ],
  ["RTS RTS", RUNNING],
  ["RTS SQD", { RC: rule([], ["enSqdAsyncNotify"]), UC: rule([], ["enSqdAsyncNotify"]), UD: rule([], ["enSqdAsyncNotify"]) }],
  ["SQD RTS", RUNNING],
  [
    "SQD SQD",
    {
      RC: rule(
        [],
        [...RUNNING_RC, "portNum", "ahAttr", "timeout", "retryCnt", "rnrRetry", "maxRdAtomic", "maxDestRdAtomic", "pkeyIndex"],
      ),
      UC: rule([], [...RUNNING_UC, "ahAttr", "pkeyIndex"]),
      UD: rule([], ["pkeyIndex", "qkey"]),
    },
  ],
  ["SQE RTS", { RC: rule([]), UC: rule([], ["qpAccessFlags"]), UD: rule([], ["qkey"]) }],
]);

/** Rules of a transition; undefined if the states do not follow each other. Every state may be left for RESET and ERR. */
export function rulesOf(from: QpStateName, to: QpStateName): Rules | undefined {
  if (to === "RESET" || to === "ERR") return NOTHING;
  return table.get(`${from} ${to}`);
}

/** The states that may follow, for messages. */
const followers = (from: QpStateName): string[] => [
  ...[...table.keys()].filter((key) => key.startsWith(`${from} `)).map((key) => key.slice(from.length + 1)),
  "RESET",
  "ERR",
];

/** @throws VerbsError EINVAL that says which attribute is missing or out of place */
export function checkTransition(
  label: string,
  type: QpType,
  from: QpStateName,
  to: QpStateName,
  given: readonly QpAttributeName[],
): void {
  const found = rulesOf(from, to)?.[type];
  if (found === undefined) {
    throw new VerbsError("EINVAL", `${label}: ${to} does not follow ${from}; what follows is ${followers(from).join(", ")}`);
  }
  const missing = found.required.filter((name) => !given.includes(name));
  const extra = given.filter((name) => !found.required.includes(name) && !found.optional.includes(name));
  if (missing.length === 0 && extra.length === 0) return;
  const parts = [
    ...(missing.length === 0 ? [] : [`needs ${missing.join(", ")}`]),
    ...(extra.length === 0 ? [] : [`does not take ${extra.join(", ")}`]),
  ];
  throw new VerbsError("EINVAL", `${label}: ${from} → ${to} of a ${type} QP ${parts.join(" and ")}`);
}

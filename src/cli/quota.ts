// --quota NAME=NUMBER,…: what an HCA may have, where it differs from the default.

import { type Command, InvalidArgumentError } from "commander";
import { DEFAULT_QUOTA, type Quota } from "../hca/limits.ts";

const UNITS: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

export function addQuotaOption(command: Command): Command {
  const names = Object.entries(DEFAULT_QUOTA).map(([name, value]) => `${name} (${Number.isFinite(value) ? value : "no bound"})`);
  return command.option("--quota <list>", `what each HCA may have, as NAME=NUMBER,…: ${names.join(", ")}`, parseQuota);
}

/** "qps=100,registeredBytes=1G" → numbers. @throws InvalidArgumentError with what is wrong and what would be right */
export function parseQuota(text: string): Partial<Quota> {
  const values: Record<string, number> = {};
  for (const item of text.split(",")) {
    const [, name = "", number = "", unit = ""] = /^(\w+)=(\d+)([KMGT]?)$/.exec(item) ?? [];
    if (name === "") throw new InvalidArgumentError(`${item}: expected NAME=NUMBER, such as qps=100 or registeredBytes=1G`);
    if (!(name in DEFAULT_QUOTA))
      throw new InvalidArgumentError(`${name}: there is no such quota; there are ${Object.keys(DEFAULT_QUOTA).join(", ")}`);
    if (name in values) throw new InvalidArgumentError(`${name}: expected each quota once`);
    values[name] = Number(number) * (UNITS[unit] ?? 1);
  }
  const wrong = Object.entries(values).find(([, value]) => !Number.isSafeInteger(value) || value < 1);
  if (wrong !== undefined) throw new InvalidArgumentError(`${wrong[0]}: expected a whole number of at least 1, got ${wrong[1]}`);
  return values;
}

/** The same as text, for another process. */
export const quotaText = (quota: Partial<Quota>): string =>
  Object.entries(quota)
    .map(([name, value]) => `${name}=${value}`)
    .join(",");

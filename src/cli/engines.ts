// --engines N: threads that the HCAs of a domain are spread over.

import { type Command, InvalidArgumentError } from "commander";
import { ENGINES_MAX } from "../domain/engine-fabric.ts";

export function addEnginesOption(command: Command): Command {
  const text = "engine threads to spread the HCAs over; one moves most between two HCAs, more serve many at a time";
  return command.option("--engines <n>", text, parseEngines, 1);
}

/** @throws InvalidArgumentError if it is not a number of engines */
export function parseEngines(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > ENGINES_MAX)
    throw new InvalidArgumentError(`expected a whole number from 1 to ${ENGINES_MAX}`);
  return count;
}

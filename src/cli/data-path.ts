// --data-path: whether messages are cut into packets.

import { type Command, Option } from "commander";
import { DATA_PATHS, type DataPath } from "../transport/network.ts";
import { UsageError } from "./output.ts";

const TEXT =
  "how messages between HCAs of an engine go: auto, as packets where somebody captures them or a cable has faults, else from memory to memory; " +
  "packets, always as packets; short, never, whatever captures and faults then miss; lanes, hop by hop through virtual lanes with credits, at the " +
  "rate of the cables (what auto is where a topology says lanes:)";

export const addDataPathOption = (command: Command): Command =>
  command.addOption(new Option("--data-path <which>", TEXT).choices(DATA_PATHS).default("auto"));

/** @throws UsageError where that data path does not exist */
export function assertDataPath(dataPath: DataPath, engines: number): void {
  if (dataPath === "lanes" && engines > 1)
    throw new UsageError(`--data-path lanes lives in one engine: expected --engines 1, got ${engines}`);
}

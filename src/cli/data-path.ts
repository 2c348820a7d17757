// --data-path: whether messages are cut into packets.

import { type Command, Option } from "commander";
import { DATA_PATHS } from "../transport/network.ts";

const TEXT =
  "how messages between HCAs of an engine go: auto, as packets where somebody captures them or a cable has faults, else from memory to memory; " +
  "packets, always as packets; short, never, whatever captures and faults then miss";

export const addDataPathOption = (command: Command): Command =>
  command.addOption(new Option("--data-path <which>", TEXT).choices(DATA_PATHS).default("auto"));

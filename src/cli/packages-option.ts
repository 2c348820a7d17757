// --packages LIST: what a guest image has besides the default set.

import { Option } from "commander";

/** `--packages a,b` and `--packages a --packages b` are the same. */
export const packagesOption = (): Option =>
  new Option("--packages <list>", "Debian packages to add, comma-separated")
    .argParser((text: string, list: readonly string[]) => [...list, ...text.split(",").filter((name) => name !== "")])
    .default([], "none");

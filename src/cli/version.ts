// The package's version, read where it is written.

import { readFileSync } from "node:fs";

/** package.json lies two folders up in a checkout, three in a built package. */
function packageFile(): URL {
  return new URL(import.meta.url.endsWith(".ts") ? "../../package.json" : "../../../package.json", import.meta.url);
}

export const VERSION: string = (JSON.parse(readFileSync(packageFile(), "utf8")) as { version: string }).version;

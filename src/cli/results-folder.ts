// Where figures that were measured are written.

import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder the user names, else bench/results of this checkout, or of the current folder if vhca is an installed package. */
export function resultsFolder(named: string | undefined): string {
  const isCheckout = import.meta.url.endsWith(".ts");
  return named ?? join(isCheckout ? fileURLToPath(new URL("../..", import.meta.url)) : ".", "bench", "results");
}

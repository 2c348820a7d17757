// Memory that nobody needs any more, given back: what a start leaves behind is a third of what a large fabric takes afterwards.

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import koffi from "koffi";

/** Of glibc; other C libraries have none, and need none. */
function mallocTrim(): (() => void) | undefined {
  try {
    const trim = koffi.load(null).func("int malloc_trim(size_t pad)") as (pad: number) => number;
    return () => void trim(0);
  } catch {
    return undefined;
  }
}

/** Gives free pages of the C library's heap back to the system: some milliseconds for every thread that allocates meanwhile. */
export const trimMalloc: () => void = mallocTrim() ?? (() => {});

/** Collects this thread's garbage, all of it, at once: 5 to 20 ms of a thread that carries messages. */
export function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}

/** The same, and gives what became free to the system: some tens of milliseconds, so only when nobody waits for the thread. */
export function collectAndTrim(): void {
  collectGarbage();
  trimMalloc();
}

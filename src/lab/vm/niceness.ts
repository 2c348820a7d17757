// Guests that poll take a whole core each, whatever they wait for. Where cores are few, the device domain that answers them (and
// the user's other programs) should go first.

import { writeFileSync } from "node:fs";
import { setPriority } from "node:os";

/** Weight 335 against 1024: beside a device domain that is busy all the time a guest still gets a quarter of a core. */
const GUEST_NICE = 5;

/** Makes a program that was just started in a session of its own nicer than we are. Rights it does not need. */
export function makeNice(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, GUEST_NICE);
    // Where the scheduler groups tasks by session, nice only counts inside a group; a group has its own (sched(7)).
    writeFileSync(`/proc/${pid}/autogroup`, String(GUEST_NICE));
  } catch {
    // It has ended, or the kernel has no autogroups: then the nice value alone does it.
  }
}

// A peer's mistake, thrown where it is found and turned into an error reply in one place (session.ts).

import { errnoName } from "../host/system-error.ts";

export class VfioUserError extends Error {
  /** What the error reply says; a Linux errno (`Errno` in host/system-error.ts). */
  readonly errno: number;

  constructor(errno: number, message: string) {
    super(`${errnoName(errno)}: ${message}`);
    this.name = "VfioUserError";
    this.errno = errno;
  }
}

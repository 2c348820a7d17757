// What the operating system said no to.

import { constants } from "node:os";

/** Linux errno numbers by name. */
export const Errno = constants.errno;

/** By number; of two names for one number, the first. A peer can make errors as fast as it can send. */
const names = new Map(
  Object.entries(Errno)
    .reverse()
    .map(([name, errno]) => [errno, name]),
);

/** The name of an errno, such as `ENOENT`. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

/** A system call failed, or a descriptor was refused for what it is. */
export class SystemError extends Error {
  readonly syscall: string;
  readonly errno: number;
  /** The errno's name. */
  readonly code: string;

  constructor(syscall: string, errno: number, detail?: string) {
    const code = errnoName(errno);
    super(`${syscall}: ${code}${detail === undefined ? "" : `: ${detail}`}`);
    this.name = "SystemError";
    this.syscall = syscall;
    this.errno = errno;
    this.code = code;
  }
}

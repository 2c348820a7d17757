// What the operating system said no to.

import { constants } from "node:os";

/** Linux errno numbers by name. */
export const Errno = constants.errno;

/** The name of an errno, such as `ENOENT`. */
export function errnoName(errno: number): string {
  for (const [name, value] of Object.entries(Errno)) if (value === errno) return name;
  return `errno ${errno}`;
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

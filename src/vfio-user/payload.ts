// The two length checks every command begins with ("Message sizes").

import { Errno } from "../host/system-error.ts";
import { type Connection, PAYLOAD } from "./connection.ts";
import { VfioUserError } from "./error.ts";

/** @throws VfioUserError EINVAL if the request's payload is shorter than `length` bytes. */
export function assertPayload(connection: Connection, length: number): void {
  const got = connection.size - PAYLOAD;
  if (got < length) throw new VfioUserError(Errno.EINVAL, `payload of ${got} bytes; expected at least ${length}`);
}

/** @throws VfioUserError EINVAL if the peer's argsz leaves no room for `length` bytes. */
export function assertArgsz(argsz: number, length: number): void {
  if (argsz < length) throw new VfioUserError(Errno.EINVAL, `argsz ${argsz}; expected at least ${length}`);
}

// Closing descriptors that a peer has sent and nobody wants.

import { closeDescriptor, SocketConstant, setsockopt } from "./libc.ts";
import { allocateNative } from "./mapping.ts";

/** struct linger: switched off, no seconds. */
const LINGER_BYTES = 8;
const noLinger = allocateNative(LINGER_BYTES);

/**
 * Closes a peer's descriptor. If it is the last one of a socket with unsent data, `close` would wait as long as the peer has told
 * that socket to linger (SO_LINGER, socket(7)); so it is told not to. Anything else does not mind.
 */
export function closeForeignDescriptor(fd: number): void {
  setsockopt(fd, SocketConstant.SOL_SOCKET, SocketConstant.SO_LINGER, noLinger.address, LINGER_BYTES);
  closeDescriptor(fd);
}

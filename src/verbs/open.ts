// Opening an HCA of a device domain, over its socket: this process is then to it what a VM is.

import { SocketAccess } from "../driver/backends/socket-access.ts";
import { Context, type ContextOptions } from "./context.ts";

const MIB = 2 ** 20;
const PAGE = 4096;

export interface OpenOptions extends ContextOptions {
  /** Memory for queues, buffers and the HCA's tables, in bytes, whole pages of 4 KiB; 64 MiB if left out, 1 GiB at most. */
  readonly memoryBytes?: number;
}

/**
 * Opens the HCA that listens at `path` (`vhca hca add NAME` prints it) and serves it until it is closed. One process at a time has it.
 * @throws SystemError if nobody listens there; VerbsError ENODEV if it is no MT25204
 */
export function openDevice(path: string, options: OpenOptions = {}): Context {
  const { memoryBytes = 64 * MIB, ...device } = options;
  const access = new SocketAccess(path, Math.ceil(memoryBytes / PAGE) * PAGE);
  try {
    const context = new Context(access, device);
    context.startServing();
    return context;
  } catch (error) {
    access.close();
    throw error;
  }
}

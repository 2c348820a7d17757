// Soft-RoCE, the kernel's own software HCA, over the guests' Ethernet.

import type { StepContext } from "../plan.ts";

export const RXE_DEVICE = "rxe0";

const ADD = `rdma link add ${RXE_DEVICE} type rxe netdev eth0`;
const REMOVE = `rdma link delete ${RXE_DEVICE}`;
/** The device has a GID for each address of eth0 after a moment. */
const READY = `for _ in 1 2 3 4 5 6 7 8 9 10; do ibv_devinfo -d ${RXE_DEVICE} -v | grep -q "GID\\[ *1\\]" && exit 0; sleep 0.2; done; exit 1`;

/** Does something while both guests have an rxe device; it is gone afterwards, as some programs take any device they find. */
export async function withRxe<T>({ pair }: StepContext, work: () => Promise<T>): Promise<T> {
  const everywhere = async (command: string): Promise<void> => {
    for (const result of await Promise.all(pair.lab.nodes.map((node) => node.exec(command))))
      if (result.status !== 0) throw new Error(`${command}: status ${result.status}: ${result.stderr.trim()}`);
  };
  await everywhere(`${ADD} && (${READY})`);
  try {
    return await work();
  } finally {
    await everywhere(REMOVE);
  }
}

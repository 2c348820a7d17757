// Messages through the VMM and interrupts of each operation. What a program costs at its start and end is taken off by counting two
// runs that differ in nothing but their length.

import type { DomainView } from "../domain/protocol.ts";
import type { Lab } from "../lab/lab.ts";
import type { Pair } from "./plan.ts";
import type { Counts } from "./report.ts";

/** What has been counted so far, of both nodes together. */
export interface Tally {
  readonly messages: number;
  readonly interrupts: number;
}

export type TakeTally = () => Promise<Tally>;

/** Of the HCAs: vfio-user messages and MSI-X interrupts, as the device domain counts them. */
export function tallyOf({ hcas }: DomainView): Tally {
  const sum = (of: (hca: DomainView["hcas"][number]) => number | undefined): number =>
    hcas.reduce((total, hca) => total + (of(hca) ?? 0), 0);
  return { messages: sum((hca) => hca.messages.messagesIn), interrupts: sum((hca) => hca.counters.interrupts) };
}

export const hcaTally = (pair: Pair) => async (): Promise<Tally> => tallyOf(await pair.describe());

/** Ethernet frames sent, each of which QEMU carries, and interrupts of the network device. */
const ETHERNET_TALLY = `device=$(basename "$(readlink /sys/class/net/eth0/device)")
echo "frames $(cat /sys/class/net/eth0/statistics/tx_packets)"
awk -v device="$device-" 'index($0, device) { sum += $2 } END { print "interrupts", sum + 0 }' /proc/interrupts`;

/** Of virtio-net, as the guests count them. */
export const ethernetTally = (lab: Lab) => async (): Promise<Tally> => {
  const texts = await Promise.all(lab.nodes.map((node) => node.exec(ETHERNET_TALLY)));
  const sum = (name: string): number =>
    texts.reduce((total, { stdout }) => total + Number(new RegExp(`^${name} (\\d+)$`, "m").exec(stdout)?.[1] ?? Number.NaN), 0);
  return { messages: sum("frames"), interrupts: sum("interrupts") };
};

/**
 * Runs something of `short` and of `long` operations and gives what each operation more has cost.
 * @param run carries out that many operations
 */
export async function countPerOperation(
  tally: TakeTally,
  run: (operations: number) => Promise<void>,
  { short, long }: { readonly short: number; readonly long: number },
): Promise<Counts> {
  const cost = async (operations: number): Promise<Tally> => {
    const before = await tally();
    await run(operations);
    const after = await tally();
    return { messages: after.messages - before.messages, interrupts: after.interrupts - before.interrupts };
  };
  const few = await cost(short);
  const many = await cost(long);
  const operations = long - short;
  const each = (of: keyof Tally): number => Math.round((Math.max(0, many[of] - few[of]) / operations) * 1e4) / 1e4;
  return { operations, messagesPerOperation: each("messages"), interruptsPerOperation: each("interrupts") };
}

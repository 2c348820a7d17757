// The device channel from a process of the host: what a firmware command and what a message to the device domain take, by the bytes
// they carry.

import { Command, MapEntry } from "../../spec/hca/commands.ts";
import { RegionIndex } from "../../spec/vfio-user/numbers.ts";
import type { Context } from "../../verbs/index.ts";
import { VfioUserClient } from "../../vfio-user/client.ts";
import { medianUs } from "./median.ts";
import type { NativeResult } from "./test.ts";

const PAGE = 4096;
/** Context memory that the driver does not use: beyond 4 GiB. */
const UNUSED_ICM = 2 ** 32;

/**
 * Half of the time of a firmware command that carries so many bytes to the device: MAP_ICM, whose entries of 16 bytes map pages
 * where they were mapped before (docs "infinihost" 2.8.3).
 * @param sizes multiples of 16, 4096 at most
 */
export function measureCommands(context: Context, sizes: readonly number[], iterations: number): NativeResult {
  const page = context.allocMemory(PAGE).addr;
  const map = (entries: number): void => {
    context.device.commands.run(Command.MAP_ICM, {
      modifier: entries,
      input: (view, at) => {
        for (let i = 0; i < entries; i++) {
          const entry = at + i * MapEntry.byteLength;
          MapEntry.icmAddress.setBig(view, entry, BigInt(UNUSED_ICM + i * PAGE));
          MapEntry.dmaAddress.setBig(view, entry, BigInt(page));
        }
      },
    });
  };
  return sizes.map((x) => ({ x, y: medianUs(() => map(x / MapEntry.byteLength), iterations) / 2 }));
}

/** Half of the time of a read of so many bytes of BAR 2 by a message, there and back. */
export function measureMessages(socket: string, sizes: readonly number[], iterations: number): NativeResult {
  const client = new VfioUserClient(socket);
  return sizes.map((x) => ({ x, y: medianUs(() => client.read(RegionIndex.BAR2, 0, x), iterations) / 2 }));
}

// vhca/vfio-user: write any PCI device in TypeScript and plug it into a stock VM.

export { AddressSpace } from "../base/address-space.ts";
export { type Memory, newMemory } from "../base/bytes.ts";
export { countersObject } from "../base/counters.ts";
export type { Log } from "../base/log.ts";
export { createEventfd, drainEventfd, signalEventfd } from "../host/eventfd.ts";
export { PollEvent, Poller } from "../host/poller.ts";
export { createSharedMemory, type OwnedSharedMemory, SharedMemoryRegistry } from "../host/shared-memory.ts";
export { Errno, SystemError } from "../host/system-error.ts";
export { IrqIndex, IrqSetFlag, RegionFlag, RegionIndex } from "../spec/vfio-user/numbers.ts";
export {
  type ClientOptions,
  type DmaMapping,
  type MappedArea,
  type RegionDescription,
  type SingleWrite,
  VfioUserClient,
} from "./client.ts";
export { ServerCounter } from "./counters.ts";
export type { Interrupts, MappableArea, Region, VfioUserDevice } from "./device.ts";
export { VfioUserError } from "./error.ts";
export { type ServeOptions, type Serving, serve } from "./serve.ts";
export { type ServerOptions, VfioUserServer } from "./server.ts";

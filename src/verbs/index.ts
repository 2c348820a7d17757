// vhca/verbs: libibverbs' model for Node.js programs, on the same HCAs that VMs use.

export { AccessFlag, ALL_ACCESS } from "./access-flag.ts";
export type { AddressHandle, AddressHandleAttributes, GlobalRoute } from "./address-handle.ts";
export type { AsyncEvent, PortEventType, QpEventType, SrqEventType } from "./async-event.ts";
export type { CompletionChannel } from "./completion-channel.ts";
export type { CompletionQueue, CqOptions } from "./completion-queue.ts";
export { activateUd, type ConnectAttributes, connectQp } from "./connect.ts";
export { Context, type ContextOptions } from "./context.ts";
export type { DmaMemory } from "./dma-memory.ts";
export { VerbsError, type VerbsErrorCode } from "./error.ts";
export { gidText } from "./gid.ts";
export type { MemoryRegion, RegionOptions } from "./memory-region.ts";
export type { JoinOptions, MulticastGroup, MulticastMembership } from "./multicast.ts";
export { type OpenOptions, openDevice } from "./open.ts";
export { addressOf, type Path, type PathOptions, type PathTarget } from "./path.ts";
export type { DeviceAttributes, PortAttributes, PortStateName } from "./port.ts";
export type { ProtectionDomain } from "./protection-domain.ts";
export type { AlternatePath, PathMigState, PathMtu, QpAttributes, QpModify } from "./qp-attributes.ts";
export type { QpStateName, QpType } from "./qp-state-table.ts";
export { type QpCapabilities, type QpInitAttributes, type QueuePair, WrError } from "./queue-pair.ts";
export type { SharedReceiveQueue, SrqInitAttributes } from "./shared-receive-queue.ts";
export { newWorkCompletions, type WcOpcode, type WcStatus, WorkCompletion } from "./work-completion.ts";
export { type RecvWr, SendFlag, type SendWr, type Sge } from "./work-request.ts";

// PCI helpers for device authors: configuration space, capabilities, MSI-X.

export { CapabilityId, PciExpressSpeed } from "../spec/pci/capabilities.ts";
export { CONFIG_BYTES, PciClass, PciCommand, PciStatus } from "../spec/pci/config.ts";
export type { Bar } from "./bar.ts";
export { type Capability, type MsiXPlace, msiX, pciExpressEndpoint, powerManagement } from "./capability.ts";
export { ConfigSpace, type PciFunctionDescription } from "./config-space.ts";
export { type DeliverMessage, MsiXTable } from "./msix-table.ts";

// Capabilities a device can put in its configuration space: their bytes after reset, and which bits software may change.

import {
  CapabilityId,
  DEVICE_CONTROL_RESET,
  DEVICE_CONTROL_WRITABLE,
  DEVICE_STATUS_W1C,
  LINK_CONTROL_WRITABLE,
  MSIX_MAX_VECTORS,
  MsiX,
  PciExpressEndpoint,
  PciExpressSpeed,
  PciExpressType,
  POWER_MANAGEMENT_VERSION,
  PowerManagement,
} from "../spec/pci/capabilities.ts";

/** A capability; its `next` pointer is filled in by ConfigSpace. */
export interface Capability {
  readonly id: number;
  /** Contents after reset. */
  readonly initial: Uint8Array;
  /** Bits that software can set and clear. */
  readonly writable: Uint8Array;
  /** Bits that software clears by writing 1. */
  readonly clearedByOne: Uint8Array;
  /** Where it must stand in configuration space; left out, the next free place. */
  readonly at?: number;
}

interface Draft {
  initial: DataView;
  writable: DataView;
  clearedByOne: DataView;
}

function capability(id: number, byteLength: number, at: number | undefined, fill: (draft: Draft) => void): Capability {
  const [initial, writable, clearedByOne] = [new Uint8Array(byteLength), new Uint8Array(byteLength), new Uint8Array(byteLength)];
  const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer);
  fill({ initial: viewOf(initial), writable: viewOf(writable), clearedByOne: viewOf(clearedByOne) });
  initial[0] = id;
  return { id, initial, writable, clearedByOne, ...(at === undefined ? {} : { at }) };
}

/** Power management with D0 and D3hot; leaving D3hot resets nothing. */
export function powerManagement(at?: number): Capability {
  return capability(CapabilityId.POWER_MANAGEMENT, PowerManagement.byteLength, at, ({ initial, writable }) => {
    PowerManagement.version.set(initial, 0, POWER_MANAGEMENT_VERSION);
    PowerManagement.noSoftReset.set(initial, 0, 1);
    PowerManagement.powerState.set(writable, 0, 3);
  });
}

/** Where MSI-X keeps its table and pending bits. */
export interface MsiXPlace {
  readonly vectorCount: number;
  readonly tableBar: number;
  /** Multiples of 8. Keep both out of pages that the VM maps. */
  readonly tableOffset: number;
  readonly pbaBar: number;
  readonly pbaOffset: number;
}

export function msiX(place: MsiXPlace, at?: number): Capability {
  if (!(place.vectorCount >= 1 && place.vectorCount <= MSIX_MAX_VECTORS)) {
    throw new Error(`PCI: MSI-X: expected 1 to ${MSIX_MAX_VECTORS} vectors, got ${place.vectorCount}`);
  }
  if (place.tableOffset % 8 !== 0 || place.pbaOffset % 8 !== 0)
    throw new Error("PCI: MSI-X: expected offsets that are multiples of 8");
  return capability(CapabilityId.MSI_X, MsiX.byteLength, at, ({ initial, writable }) => {
    MsiX.tableSize.set(initial, 0, place.vectorCount - 1);
    MsiX.tableBar.set(initial, 0, place.tableBar);
    MsiX.tableOffset.set(initial, 0, place.tableOffset / 8);
    MsiX.pbaBar.set(initial, 0, place.pbaBar);
    MsiX.pbaOffset.set(initial, 0, place.pbaOffset / 8);
    MsiX.functionMask.set(writable, 0, 1);
    MsiX.enable.set(writable, 0, 1);
  });
}

/** A PCI Express endpoint, capability version 1; link speed and width are what tools show. */
export function pciExpressEndpoint(link: { readonly width: number; readonly speed?: number }, at?: number): Capability {
  const speed = link.speed ?? PciExpressSpeed.GT_2_5;
  const Layout = PciExpressEndpoint;
  return capability(CapabilityId.PCI_EXPRESS, Layout.byteLength, at, ({ initial, writable, clearedByOne }) => {
    Layout.version.set(initial, 0, 1);
    Layout.deviceType.set(initial, 0, PciExpressType.ENDPOINT);
    Layout.maxPayloadSupported.set(initial, 0, 1);
    Layout.roleBasedErrors.set(initial, 0, 1);
    Layout.deviceControl.set(initial, 0, DEVICE_CONTROL_RESET);
    Layout.deviceControl.set(writable, 0, DEVICE_CONTROL_WRITABLE);
    Layout.deviceStatus.set(clearedByOne, 0, DEVICE_STATUS_W1C);
    Layout.maxLinkSpeed.set(initial, 0, speed);
    Layout.maxLinkWidth.set(initial, 0, link.width);
    Layout.linkControl.set(writable, 0, LINK_CONTROL_WRITABLE);
    Layout.linkSpeed.set(initial, 0, speed);
    Layout.linkWidth.set(initial, 0, link.width);
  });
}

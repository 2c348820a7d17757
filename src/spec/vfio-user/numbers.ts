// Numbers of the vfio-user protocol (QEMU docs/interop/vfio-user.rst, version 0.1) and of the Linux VFIO interface it
// borrows from (include/uapi/linux/vfio.h). All open: a peer may send any other value.

/** Highest protocol version known here; the reply's minor is never above the one proposed ("VFIO_USER_VERSION"). */
export const PROTOCOL_MAJOR = 0;
export const PROTOCOL_MINOR = 1;

/** "Commands": 1..10, 13 and 15..18 go from client to server, 11 and 12 the other way; 14 was withdrawn. */
export const Command = {
  VERSION: 1,
  DMA_MAP: 2,
  DMA_UNMAP: 3,
  DEVICE_GET_INFO: 4,
  DEVICE_GET_REGION_INFO: 5,
  DEVICE_GET_REGION_IO_FDS: 6,
  DEVICE_GET_IRQ_INFO: 7,
  DEVICE_SET_IRQS: 8,
  REGION_READ: 9,
  REGION_WRITE: 10,
  DMA_READ: 11,
  DMA_WRITE: 12,
  DEVICE_RESET: 13,
  DIRTY_PAGES: 14,
  REGION_WRITE_MULTI: 15,
  DEVICE_FEATURE: 16,
  MIG_DATA_READ: 17,
  MIG_DATA_WRITE: 18,
} as const;

/** Bits 3:0 of the header's flags. */
export const MessageType = { COMMAND: 0, REPLY: 1 } as const;

/** The header's whole flags word. */
export const HeaderFlag = { NO_REPLY: 1 << 4, ERROR: 1 << 5 } as const;

/** What holds when a peer's VERSION message does not say otherwise ("VFIO_USER_VERSION", capabilities). */
export const DEFAULT_MAX_MESSAGE_DESCRIPTORS = 1;
export const DEFAULT_MAX_DATA_BYTES = 1 << 20;
export const DEFAULT_PAGE_SIZES = 4096;

export const DmaMapFlag = { READ: 1 << 0, WRITE: 1 << 1, MMAP: 1 << 2, FILE_IO: 1 << 3 } as const;

export const DmaUnmapFlag = { GET_DIRTY_BITMAP: 1 << 0, ALL: 1 << 1 } as const;

export const DeviceInfoFlag = { RESET: 1 << 0, PCI: 1 << 1 } as const;

/** Fixed region indexes of a PCI device (VFIO_PCI_*_REGION_INDEX). */
export const RegionIndex = {
  BAR0: 0,
  BAR1: 1,
  BAR2: 2,
  BAR3: 3,
  BAR4: 4,
  BAR5: 5,
  ROM: 6,
  CONFIG: 7,
  VGA: 8,
} as const;
export const REGION_COUNT = 9;

export const RegionFlag = { READ: 1 << 0, WRITE: 1 << 1, MMAP: 1 << 2, CAPS: 1 << 3 } as const;

/** Capabilities that may follow a region info (VFIO_REGION_INFO_CAP_*). */
export const RegionCapabilityId = { SPARSE_MMAP: 1, TYPE: 2, MSIX_MAPPABLE: 3 } as const;

/** "VFIO_USER_DEVICE_GET_REGION_IO_FDS", sub-region types. */
export const IoDescriptorType = { IOEVENTFD: 0, IOREGIONFD: 1, IOEVENTFD_SHADOW: 2 } as const;

/** Fixed interrupt indexes of a PCI device (VFIO_PCI_*_IRQ_INDEX). */
export const IrqIndex = { INTX: 0, MSI: 1, MSIX: 2, ERR: 3, REQ: 4 } as const;
export const IRQ_INDEX_COUNT = 5;

export const IrqInfoFlag = { EVENTFD: 1 << 0, MASKABLE: 1 << 1, AUTOMASKED: 1 << 2, NORESIZE: 1 << 3 } as const;

export const IrqSetFlag = {
  DATA_NONE: 1 << 0,
  DATA_BOOL: 1 << 1,
  DATA_EVENTFD: 1 << 2,
  ACTION_MASK: 1 << 3,
  ACTION_UNMASK: 1 << 4,
  ACTION_TRIGGER: 1 << 5,
} as const;
/** The flags of each of the two groups exclude each other. */
export const IRQ_SET_DATA_FLAGS = IrqSetFlag.DATA_NONE | IrqSetFlag.DATA_BOOL | IrqSetFlag.DATA_EVENTFD;
export const IRQ_SET_ACTION_FLAGS = IrqSetFlag.ACTION_MASK | IrqSetFlag.ACTION_UNMASK | IrqSetFlag.ACTION_TRIGGER;

/** Low 16 bits of a DEVICE_FEATURE request's flags. */
export const DeviceFeature = {
  MIGRATION: 1,
  MIG_DEVICE_STATE: 2,
  DMA_LOGGING_START: 6,
  DMA_LOGGING_STOP: 7,
  DMA_LOGGING_REPORT: 8,
} as const;

export const DeviceFeatureFlag = { GET: 1 << 16, SET: 1 << 17, PROBE: 1 << 18 } as const;

/** Flags in the answer to DeviceFeature.MIGRATION. */
export const MigrationFlag = { STOP_COPY: 1 << 0, P2P: 1 << 1, PRE_COPY: 1 << 2 } as const;

/** "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE". */
export const MigrationState = {
  ERROR: 0,
  STOP: 1,
  RUNNING: 2,
  STOP_COPY: 3,
  RESUMING: 4,
  RUNNING_P2P: 5,
  PRE_COPY: 6,
  PRE_COPY_P2P: 7,
} as const;

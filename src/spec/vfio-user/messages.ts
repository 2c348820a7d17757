// Message layouts of the vfio-user protocol (QEMU docs/interop/vfio-user.rst, version 0.1). Byte order is the host's, which
// is little-endian on every machine this program supports. Payload offsets count from the end of the header.

import { layout, le16, le32, leBits, leHalf64 } from "../../base/layout.ts";

/** "Header": in front of every message, both ways. */
export const Header = layout("vfio-user header", 16, {
  id: le16(0),
  command: le16(2),
  /** The whole message in bytes, header included. */
  size: le32(4),
  type: leBits(8, 3, 0),
  noReply: leBits(8, 4, 4),
  error: leBits(8, 5, 5),
  /** An errno; valid in replies with the error flag. */
  errno: le32(12),
});

/** VERSION, request and reply; JSON with its terminating NUL follows. */
export const Version = layout("vfio-user VERSION", 4, { major: le16(0), minor: le16(2) });

/** DMA_MAP request; the reply has no payload. */
export const DmaMap = layout("vfio-user DMA_MAP", 32, {
  argsz: le32(0),
  flags: le32(4),
  /** Offset in the descriptor that came along. */
  offset: leHalf64(8),
  address: leHalf64(16),
  size: leHalf64(24),
});

/** DMA_UNMAP, request and reply. */
export const DmaUnmap = layout("vfio-user DMA_UNMAP", 24, {
  argsz: le32(0),
  flags: le32(4),
  address: leHalf64(8),
  size: leHalf64(16),
});

/** DEVICE_GET_INFO, request and reply. */
export const DeviceInfo = layout("vfio-user DEVICE_GET_INFO", 16, {
  argsz: le32(0),
  flags: le32(4),
  regionCount: le32(8),
  irqCount: le32(12),
});

/** DEVICE_GET_REGION_INFO, request and reply; capabilities may follow in the reply. */
export const RegionInfo = layout("vfio-user DEVICE_GET_REGION_INFO", 32, {
  argsz: le32(0),
  flags: le32(4),
  index: le32(8),
  /** Where the first capability lies, from the start of this record. */
  capOffset: le32(12),
  size: leHalf64(16),
  /** Offset in the descriptor that comes along, for mmap. */
  offset: leHalf64(24),
});

/** Header of every region capability (struct vfio_info_cap_header). */
export const RegionCapability = layout("vfio capability", 8, { id: le16(0), version: le16(2), next: le32(4) });

/** RegionCapabilityId.SPARSE_MMAP; `areaCount` SparseMmapArea records follow. */
export const SparseMmap = layout("vfio sparse mmap", 16, { id: le16(0), version: le16(2), next: le32(4), areaCount: le32(8) });
export const SparseMmapArea = layout("vfio sparse mmap area", 16, { offset: leHalf64(0), size: leHalf64(8) });

/** DEVICE_GET_REGION_IO_FDS, request and reply; sub-region records follow in the reply. */
export const RegionIoDescriptors = layout("vfio-user DEVICE_GET_REGION_IO_FDS", 16, {
  argsz: le32(0),
  flags: le32(4),
  index: le32(8),
  count: le32(12),
});

/** One sub-region of the above, type IOEVENTFD (and IOREGIONFD, with `datamatch` as its user data). */
export const SubRegion = layout("vfio-user sub-region", 40, {
  offset: leHalf64(0),
  size: leHalf64(8),
  descriptorIndex: le32(16),
  type: le32(20),
  flags: le32(24),
  datamatch: leHalf64(32),
});

/** DEVICE_GET_IRQ_INFO, request and reply. */
export const IrqInfo = layout("vfio-user DEVICE_GET_IRQ_INFO", 16, {
  argsz: le32(0),
  flags: le32(4),
  index: le32(8),
  count: le32(12),
});

/** DEVICE_SET_IRQS request; with DATA_BOOL, `count` bytes follow. */
export const IrqSet = layout("vfio-user DEVICE_SET_IRQS", 20, {
  argsz: le32(0),
  flags: le32(4),
  index: le32(8),
  start: le32(12),
  count: le32(16),
});

/** REGION_READ and REGION_WRITE, request and reply; data follow in a write and in a read's reply. */
export const RegionAccess = layout("vfio-user REGION_READ/WRITE", 16, { offset: leHalf64(0), region: le32(8), count: le32(12) });

/** REGION_WRITE_MULTI, request and reply; `count` WriteMultiEntry records follow in the request. */
export const WriteMulti = layout("vfio-user REGION_WRITE_MULTI", 8, { count: leHalf64(0) });
/** One write of at most 8 bytes; `data` starts at byte 16. */
export const WriteMultiEntry = layout("vfio-user single write", 24, {
  offset: leHalf64(0),
  region: le32(8),
  count: le32(12),
  data: leHalf64(16),
});

/** DMA_READ and DMA_WRITE (server to client); data follow in a write and in a read's reply. */
export const DmaAccess = layout("vfio-user DMA_READ/WRITE", 16, { address: leHalf64(0), count: leHalf64(8) });

/** DEVICE_FEATURE, request and reply; the feature's data follow. */
export const FeatureRequest = layout("vfio-user DEVICE_FEATURE", 8, { argsz: le32(0), flags: le32(4) });

/** MIG_DATA_READ and MIG_DATA_WRITE; data follow in a write and in a read's reply. */
export const MigrationData = layout("vfio-user MIG_DATA", 8, { argsz: le32(0), size: le32(4) });

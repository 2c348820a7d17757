// IP over InfiniBand: the header in front of each packet, hardware addresses, and ARP. RFC 4391, sections 4, 6, 9.1; RFC 826.

import { be16, be32, bits, bytes, layout, u8 } from "../../base/layout.ts";

/** Encapsulation header (6). */
export const IpoibHeader = layout("IPoIB header", 4, { type: be16(0) });

/** Hardware address (9.1.1): a QPN and the GID of its port. */
export const IpoibHardwareAddress = layout("IPoIB hardware address", 20, { qpn: bits(0, 23, 0), gid: bytes(4, 16) });

/** ARP packet for IPv4 over InfiniBand (9.1.2). */
export const IpoibArp = layout("IPoIB ARP", 56, {
  hardwareType: be16(0),
  protocolType: be16(2),
  hardwareLength: u8(4),
  protocolLength: u8(5),
  operation: be16(6),
  senderHardware: bytes(8, 20),
  senderIp: be32(28),
  targetHardware: bytes(32, 20),
  targetIp: be32(52),
});

export const EtherType = { IPV4: 0x0800, ARP: 0x0806 } as const;
/** Hardware type of InfiniBand (9.1.2). */
export const ARP_INFINIBAND = 32;
export const ArpOperation = { REQUEST: 1, REPLY: 2 } as const;

/** The broadcast group of IPv4 in the default partition, link-local scope (4): ff12:401b:ffff::ffff:ffff. */
export const IPOIB_BROADCAST_MGID: Uint8Array = Uint8Array.of(
  ...[0xff, 0x12, 0x40, 0x1b, 0xff, 0xff, 0, 0],
  ...[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
);

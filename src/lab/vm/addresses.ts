// Names and addresses of a lab's nodes. Guests have no way out of their lab, so every lab uses the same ones.

/** The most nodes a lab may have: addresses are taken from /24 networks. */
export const MAX_NODES = 200;

/** n1, n2, … */
export const nodeName = (index: number): string => `n${index}`;

/** The address on the Ethernet between the guests; `guest/init` assigns it. */
export const ethernetAddress = (index: number): string => `10.86.0.${index}`;

/** The address over IPoIB; `guest/init` assigns it. */
export const ipoibAddress = (index: number): string => `10.87.0.${index}`;

/** A locally administered MAC address. */
export const macAddress = (index: number): string => `52:56:00:86:00:${index.toString(16).padStart(2, "0")}`;

/** /etc/hosts of every node: nK is the Ethernet, nK-ib is IPoIB. */
export function hostsFile(nodes: number): string {
  const lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"];
  for (let index = 1; index <= nodes; index++) {
    lines.push(`${ethernetAddress(index)} ${nodeName(index)}`, `${ipoibAddress(index)} ${nodeName(index)}-ib`);
  }
  return `${lines.join("\n")}\n`;
}

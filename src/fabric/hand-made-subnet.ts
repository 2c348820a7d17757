// Plays the subnet manager by hand, without a MAD: LIDs, tables and states are written straight into the ports. For tests that
// want to know exactly what is where.

import { PortState } from "../spec/ib/numbers.ts";
import { LFT_BLOCK_LIDS, MFT_BLOCK_LIDS, MFT_POSITION_PORTS } from "../spec/mad/numbers.ts";
import { PortInfo, SwitchInfo } from "../spec/mad/sm-attributes.ts";
import type { Fabric } from "./fabric.ts";
import type { Port } from "./port.ts";
import type { SwitchNode } from "./switch-node.ts";

/** Makes both ends of every link that is up ACTIVE. */
export function activateLinks(fabric: Fabric): void {
  for (const { a, b } of fabric.links) {
    if (!a.isLinkUp) continue;
    for (const port of [a, b]) {
      port.node.setPortState(port.number, PortState.ARMED);
      port.node.setPortState(port.number, PortState.ACTIVE);
    }
  }
}

/** Gives an end port its LID. */
export function setLid(port: Port, lid: number, smLid = 0): void {
  PortInfo.lid.set(port.info, 0, lid);
  PortInfo.smLid.set(port.info, 0, smLid);
  port.node.attributesChanged();
}

/** Sends `lid` out of `port`. */
export function setRoute(node: SwitchNode, lid: number, port: number): void {
  const { linear, info } = node.switch;
  const block = Math.floor(lid / LFT_BLOCK_LIDS);
  const entries = new Uint8Array(LFT_BLOCK_LIDS);
  linear.readBlock(block, entries);
  entries[lid % LFT_BLOCK_LIDS] = port;
  linear.writeBlock(block, entries);
  SwitchInfo.linearFdbTop.set(info, 0, Math.max(lid, SwitchInfo.linearFdbTop.get(info, 0)));
  node.attributesChanged();
}

/** Sends multicast `mlid` out of these ports. */
export function setMulticastRoute(node: SwitchNode, mlid: number, ports: readonly number[]): void {
  const { multicast } = node.switch;
  const index = mlid - 0xc000;
  const block = Math.floor(index / MFT_BLOCK_LIDS);
  for (let position = 0; position < multicast.positions; position++) {
    const masks = new DataView(new ArrayBuffer(MFT_BLOCK_LIDS * 2));
    multicast.readBlock(block, position, masks, 0);
    let mask = 0;
    for (const port of ports) if (Math.floor(port / MFT_POSITION_PORTS) === position) mask |= 1 << (port % MFT_POSITION_PORTS);
    masks.setUint16((index % MFT_BLOCK_LIDS) * 2, mask);
    multicast.writeBlock(block, position, masks, 0);
  }
  node.attributesChanged();
}

// NodeInfo and NodeDescription. IBA vol 1, 14.2.5.2 and 14.2.5.3; values of the HCA: infinihost 6.7.

import { MadHeader, SMP_DATA_AT } from "../../spec/mad/headers.ts";
import { MAD_BASE_VERSION, MadStatus, NodeType, SM_CLASS_VERSION } from "../../spec/mad/numbers.ts";
import { NODE_DESCRIPTION_BYTES, NodeInfo } from "../../spec/mad/sm-attributes.ts";
import { type ManagedNode, portCountOf } from "../attributes.ts";
import { bytesOf } from "../mad.ts";
import type { Attribute, SmaContext } from "./attribute.ts";

export const nodeDescription: Attribute = {
  get(node, mad) {
    bytesOf(mad).set(node.description.subarray(0, NODE_DESCRIPTION_BYTES), SMP_DATA_AT);
    return MadStatus.OK;
  },
};

export const nodeInfo: Attribute = {
  get(node: ManagedNode, mad: DataView, context: SmaContext) {
    if (MadHeader.attributeModifier.get(mad, 0) !== 0) return MadStatus.INVALID_FIELD;
    const at = SMP_DATA_AT;
    NodeInfo.baseVersion.set(mad, at, MAD_BASE_VERSION);
    NodeInfo.classVersion.set(mad, at, SM_CLASS_VERSION);
    NodeInfo.nodeType.set(mad, at, node.type);
    NodeInfo.portCount.set(mad, at, portCountOf(node));
    NodeInfo.systemImageGuid.setBig(mad, at, node.systemImageGuid);
    NodeInfo.nodeGuid.setBig(mad, at, node.guid);
    const guidPort = node.ports[node.type === NodeType.SWITCH ? 0 : context.port];
    NodeInfo.portGuid.setBig(mad, at, guidPort?.guid ?? node.guid);
    NodeInfo.partitionCap.set(mad, at, node.partitionCap);
    NodeInfo.deviceId.set(mad, at, node.deviceId);
    NodeInfo.revision.set(mad, at, node.revision);
    NodeInfo.localPort.set(mad, at, context.port);
    NodeInfo.vendorId.set(mad, at, node.vendorId);
    return MadStatus.OK;
  },
};

// GUIDs for nodes whose file gives them none.

import { DEFAULT_SWITCH_GUID, FIRST_CA_GUID } from "../guids.ts";
import { portGuidOf } from "./check.ts";
import type { TopologyNode } from "./topology.ts";

/** Distance of two GUIDs: ports and the system image have the ones in between. */
const STEP = 16n;

export class GuidPool {
  readonly #taken = new Set<bigint>();
  readonly #next = { switch: DEFAULT_SWITCH_GUID, host: FIRST_CA_GUID };

  /** @param nodes whose own GUIDs are not given out */
  constructor(nodes: readonly TopologyNode[]) {
    for (const node of nodes) {
      if (node.guid === undefined) continue;
      this.#taken.add(node.guid);
      if (node.kind === "host")
        for (let port = 1; port <= node.portCount; port++) this.#taken.add(portGuidOf(node, node.guid, port));
    }
  }

  /** The next GUID for a node of this kind; nobody has one of the 15 behind it. */
  take(kind: TopologyNode["kind"]): bigint {
    for (;;) {
      const guid = this.#next[kind];
      this.#next[kind] += STEP;
      if (this.#isFree(guid)) return guid;
    }
  }

  #isFree(first: bigint): boolean {
    for (let guid = first; guid < first + STEP; guid++) if (this.#taken.has(guid)) return false;
    return true;
  }
}

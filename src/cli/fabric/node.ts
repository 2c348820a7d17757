// vhca fabric node NAME: one node, its ports, and the virtual lanes of each where data go through lanes.

import type { Command } from "commander";
import type { NodeDetails, PortDetails } from "../../fabric/inspect-node.ts";
import type { UsedLaneView } from "../../fabric/lanes/inspect.ts";
import { bold, green, printJson, printLine, table, yellow } from "../output.ts";
import { addCommonOptions, type CommonOptions, getFabricDomain } from "./common.ts";

const PORT_HEAD = [">port", "peer", ">LID", "link", "state"];
const LANE_HEAD = [">VLs", ">VL", ">sent", ">queued", ">bytes", ">credits", ">buffered", ">waited", ">discarded"];

export function addNodeShow(node: Command): void {
  addCommonOptions(node.command("show <name>", { isDefault: true }))
    .summary("one node and its ports (what you get with a name alone)")
    .description("Shows a node, its ports with a cable, and the virtual lanes of each where data go through lanes.")
    .addHelpText(
      "after",
      `
With lanes (lanes: in the topology, or --data-path lanes): VLs are those in force; of each that was used, packets that it has sent, those that
are queued for it with their bytes, credits (bytes) that it has for the buffer at the other end, what lies in this port's own buffer, what its
first packets have waited, in words that the link could have sent meanwhile, and packets that were discarded.

Examples:
  vhca fabric node s1
  vhca fabric node s1 --json | jq '.ports[].lanes.lanes[] | select(.discardedPackets > 0)'`,
    )
    .action(async (name: string, options: CommonOptions) => {
      const { client } = await getFabricDomain(options.domain);
      const view = await client.fabricNode(name);
      if (options.json === true) printJson(view);
      else printLine(nodeText(view));
    });
}

export function nodeText(node: NodeDetails): string {
  const { name, type, guid, description, isPhantom, hca, hasLanes, ports } = node;
  const what = [isPhantom ? "phantom host" : type === "SWITCH" ? "switch" : "host", `node GUID ${guid}`];
  if (hca !== undefined && hca !== name) what.push(`HCA ${hca}`);
  if (description !== name) what.push(`"${description}"`);
  const [first] = ports.flatMap(({ lanes }) => (lanes === undefined ? [] : [lanes]));
  if (first !== undefined) what.push(`receive buffers of ${first.bufferBytes} B for each lane`);
  const head = hasLanes ? [...PORT_HEAD, ...LANE_HEAD] : PORT_HEAD;
  return `${bold(name)}  ${what.join(", ")}\n${table(head, ports.flatMap(portRows))}`;
}

/** A row for each lane that was used; the first says what the port is. */
function portRows(port: PortDetails): string[][] {
  const { number, peer, lid, link, state, lanes } = port;
  const start = [
    String(number),
    peer === undefined ? "-" : `${peer.name}:${peer.port}`,
    lid === 0 ? "-" : String(lid),
    link,
    state === "ACTIVE" ? green(state) : yellow(state),
  ];
  if (lanes === undefined) return [start];
  const [first, ...others] = lanes.lanes.map(laneCells);
  return [[...start, String(lanes.vls), ...(first ?? [])], ...others.map((cells) => [...start.map(() => ""), "", ...cells])];
}

const laneCells = (lane: UsedLaneView): string[] =>
  [
    lane.vl,
    lane.sentPackets,
    lane.packets,
    lane.queuedBytes,
    lane.creditBytes,
    lane.bufferedBytes,
    lane.waitedWords,
    lane.discardedPackets,
  ].map(String);

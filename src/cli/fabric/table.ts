// vhca fabric show --table: every link with both of its ends.

import type { LinkEndView, LinkView } from "../../fabric/inspect-links.ts";
import { green, red, table, yellow } from "../output.ts";
import { endText } from "./graph.ts";
import { countsText, faultsText, stateText } from "./states.ts";

/** Counters that grow with good traffic. */
const TRAFFIC = /^(xmitData(Sl\d+)?|rcvData(Sl\d+)?|(unicast|multicast)?(xmit|rcv|Xmit|Rcv)Packets)$/;

/** @param all also counters of traffic */
export function tableText(links: readonly LinkView[], all: boolean): string {
  const rows = links.map((link) => [
    endText(link.a),
    lidText(link.a),
    endText(link.b),
    lidText(link.b),
    link.width,
    link.speed,
    link.gbps === 0 ? "" : `${link.gbps} Gb/s`,
    colouredState(link),
    faultsText(link.faults),
    [countsText(link.counts), ...endCounts(link.a, all), ...endCounts(link.b, all)].filter((text) => text !== "").join(" "),
  ]);
  return table(["port", ">LID", "port", ">LID", ">width", "speed", ">rate", "state", "faults", "counters"], rows);
}

const lidText = ({ lid }: LinkEndView): string => (lid === 0 ? "-" : String(lid));

function colouredState(link: LinkView): string {
  const text = stateText(link);
  if (text === "ACTIVE") return green(text);
  return link.state === "UP" ? yellow(text) : red(text);
}

/** `s1:3 linkDowned 2, VL 0: 7 wait, 640 B credits`. */
function endCounts(end: LinkEndView, all: boolean): string[] {
  const counters = Object.entries(end.counters).filter(([name]) => all || !TRAFFIC.test(name));
  const waiting = end.lanes.filter(({ packets }) => packets > 0);
  const shown = [
    ...counters.map(([name, value]) => `${name} ${value}`),
    ...waiting.map(({ vl, packets, creditBytes }) => `VL ${vl}: ${packets} wait, ${creditBytes} B credits`),
  ];
  return shown.length === 0 ? [] : [`${endText(end)} ${shown.join(", ")}`];
}

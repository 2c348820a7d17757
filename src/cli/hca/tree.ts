// `vhca hca show NAME`: the live HCA as a tree of lines.

import { hex } from "../../base/names.ts";
import type {
  CqView,
  EqView,
  GroupView,
  HcaTree,
  PortView,
  ProfileView,
  RegionView,
  SessionView,
  SrqView,
} from "../../control/api.ts";
import { bold, bytesText, dim, grid, plural, table, wrapList, yellow } from "../output.ts";
import { qpLines } from "./queue-pairs.ts";
import { accessText, armedText, indented, lengthText, moreText, WIDTH } from "./text.ts";

const PAGE_BYTES = 4096;
const LABEL_WIDTH = 11;
/** Keeps a section's lines in the page, two columns in. */
const INNER = WIDTH - 2;

/** The lines of the tree; `isAll` also shows counters that are zero. */
export function treeLines(tree: HcaTree, isAll: boolean): string[] {
  const sections: string[][] = [
    headLines(tree),
    section("ports", tree.ports.flatMap(portLines)),
    section(`EQs: ${tree.eqs.length}`, eqLines(tree.eqs)),
    listSection("CQs", tree.cqs, cqLines(tree.cqs.items), isAll),
    listSection("SRQs", tree.srqs, srqLines(tree.srqs.items), isAll),
    listSection("QPs", tree.qps, qpLines(tree.qps.items), isAll),
    listSection("regions", tree.regions, regionLines(tree.regions.items), isAll),
    listSection("multicast entries", tree.groups, groupLines(tree.groups.items), isAll),
    counterSection("counters", tree.counters, isAll),
    counterSection("errors", tree.errors, isAll, true),
  ];
  return sections.filter((lines) => lines.length > 0).flatMap((lines, i) => (i === 0 ? lines : ["", ...lines]));
}

function headLines(tree: HcaTree): string[] {
  const labelled: [string, string[]][] = [
    ["state", [`${tree.systemState}, ${schedulingText(tree.scheduling)}`]],
    ["node GUID", [tree.nodeGuid]],
    ["session", sessionLines(tree.session)],
    ["tables", tree.profile === undefined ? ["not initialised"] : profileLines(tree.profile)],
    [
      "memory",
      [
        `${lengthText(tree.registeredBytes)} registered, ICM ${plural(tree.icmPages, "page")} mapped (${bytesText(tree.icmPages * PAGE_BYTES)})`,
      ],
    ],
  ];
  return [
    `${bold(tree.name)}  MT25204, PCI ${tree.pciId}, firmware ${tree.firmware}`,
    ...labelled.flatMap(([label, lines]) => lines.map((line, i) => `  ${(i === 0 ? label : "").padEnd(LABEL_WIDTH)}${line}`)),
  ];
}

const schedulingText = ({ hasActive, waiting }: HcaTree["scheduling"]): string =>
  `${hasActive ? "busy" : "idle"}, ${waiting === 0 ? "no QP waits" : `${plural(waiting, "QP")} waiting or flushing`}`;

function sessionLines(session: SessionView): string[] {
  const { ranges, messages, errors } = session;
  const wrong = Object.entries(errors).filter(([, count]) => count > 0);
  return [
    `${session.isConnected ? "a VM is connected" : "no VM"}, doorbells ${session.doorbells}`,
    session.socketPath,
    `${bytesText(session.memoryBytes)} of guest memory in ${plural(ranges.count, "DMA range")}`,
    `${messages.messagesIn ?? 0} messages in, ${messages.messagesOut ?? 0} out, ${messages.interrupts ?? 0} interrupts`,
    ...(wrong.length === 0 ? [] : [yellow(wrong.map(([name, count]) => `${name} ${count}`).join(", "))]),
  ];
}

function profileLines(profile: ProfileView): string[] {
  const parts = [
    `${profile.qps} QPs`,
    `${profile.cqs} CQs`,
    `${profile.srqs} SRQs`,
    `${profile.regions} regions`,
    `${profile.multicastEntries} multicast entries`,
    `${profile.uars} UARs of ${bytesText(profile.uarContextBytes)}`,
  ];
  return wrapList(parts, INNER - LABEL_WIDTH);
}

function portLines(port: PortView): string[] {
  const qpn = (number: number | undefined): string => (number === undefined ? "not set" : hex(number));
  const inset = " ".repeat(3);
  const labelled: [string, string[]][] = [
    [
      "P_Keys",
      wrapList(
        port.pkeys.map(({ pkey }) => pkey),
        INNER - 12,
      ),
    ],
    ["GIDs", port.gids.map(({ index, gid }) => `${index}: ${gid}`)],
  ];
  return [
    `${port.number}  ${port.state}, LID ${port.lid} (LMC ${port.lmc}), SM LID ${port.smLid}, MTU ${port.mtuBytes}, GUID ${port.guid}`,
    `${inset}QP0 ${qpn(port.smiQpn)}, QP1 ${qpn(port.gsiQpn)}`,
    ...labelled.flatMap(([label, lines]) => lines.map((line, i) => `${inset}${(i === 0 ? label : "").padEnd(8)}${line}`)),
  ];
}

function eqLines(eqs: readonly EqView[]): string[] {
  const rows = eqs.map((eq) => [
    String(eq.number),
    String(eq.size),
    String(eq.producer),
    String(eq.consumer),
    String(eq.pending),
    eq.isArmed ? "yes" : "no",
    eq.vector === undefined ? "INTx" : `MSI-X ${eq.vector}`,
  ]);
  return tableLines([">EQ", ">size", ">producer", ">consumer", ">pending", "armed", "interrupt"], rows);
}

function cqLines(cqs: readonly CqView[]): string[] {
  const rows = cqs.map((cq) => [
    String(cq.number),
    String(cq.size),
    String(cq.producer),
    String(cq.consumer),
    armedText(cq.armed),
    String(cq.eq),
    String(cq.uar),
    String(cq.pd),
    String(cq.users),
    cq.isBroken ? yellow("broken") : "",
  ]);
  return tableLines([">CQ", ">size", ">producer", ">consumer", "armed", ">EQ", ">UAR", ">PD", ">used", ""], rows);
}

function srqLines(srqs: readonly SrqView[]): string[] {
  const rows = srqs.map((srq) => [
    String(srq.number),
    String(srq.size),
    String(srq.posted),
    srq.limit === 0 ? "off" : String(srq.limit),
    String(srq.uar),
    String(srq.pd),
    String(srq.users),
    srq.isBroken ? yellow("broken") : "",
  ]);
  return tableLines([">SRQ", ">size", ">posted", ">limit", ">UAR", ">PD", ">used", ""], rows);
}

function regionLines(regions: readonly RegionView[]): string[] {
  const rows = regions.map((region) => [
    region.key,
    String(region.pd),
    region.start,
    lengthText(region.length),
    bytesText(region.pageBytes),
    accessText(region.access),
    region.mttAddress ?? "physical",
  ]);
  return tableLines(["lkey, rkey", ">PD", ">start", ">length", ">pages", "access", "MTT at"], rows);
}

function groupLines(groups: readonly GroupView[]): string[] {
  return groups.flatMap(({ mgid, qps }) => [
    mgid,
    ...indented(
      wrapList(
        qps.map((qpn) => hex(qpn)),
        INNER - 4,
      ).map((l) => `QPs ${l}`),
    ),
  ]);
}

function counterSection(title: string, values: Record<string, number>, isAll: boolean, isWarning = false): string[] {
  const shown = Object.entries(values).filter(([, value]) => isAll || value !== 0);
  const isBad = isWarning && shown.some(([, value]) => value !== 0);
  if (shown.length === 0) return [`${bold(title)}: ${dim("none")}`];
  const lines = grid(
    shown.map(([name, value]) => [name, String(value)] as const),
    INNER,
  );
  return [isBad ? yellow(title) : bold(title), ...indented(lines)];
}

const tableLines = (head: readonly string[], rows: readonly string[][]): string[] =>
  rows.length === 0 ? [] : table(head, rows).split("\n");

const section = (title: string, lines: readonly string[]): string[] => [bold(title), ...indented(lines)];

function listSection(
  title: string,
  listing: { count: number; isCut: boolean; items: unknown[] },
  lines: readonly string[],
  isAll: boolean,
): string[] {
  return section(`${title}: ${listing.count}`, [...lines, ...moreText(listing, isAll)]);
}

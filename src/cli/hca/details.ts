// `vhca hca show NAME --qp N` and the like: everything about one object.

import { hex, nameOf } from "../../base/names.ts";
import type { CqDetails, CqeView, QpDetails, RegionDetails, SrqDetails, WqeView } from "../../control/api.ts";
import { PathMigration } from "../../spec/hca/contexts.ts";
import { QpState, Service } from "../../spec/ib/numbers.ts";
import { bold, bytesText, grid, plural, table, wrapList, yellow } from "../output.ts";
import { waitText } from "./queue-pairs.ts";
import { accessText, armedText, indented, lengthText, numberText, ringText, WIDTH } from "./text.ts";

const LABEL_WIDTH = 11;
const INNER = WIDTH - 2;
/** Users of a queue in one answer. */
const USERS_SHOWN = 64;

/** Lines `label  text`; those without a text are left out. */
const labelled = (pairs: readonly (readonly [string, string | undefined])[]): string[] =>
  pairs.flatMap(([label, text]) => (text === undefined ? [] : [`  ${label.padEnd(LABEL_WIDTH)}${text}`]));

const warning = (text: string | undefined): string | undefined => (text === undefined ? undefined : yellow(text));

// ---- QP -------------------------------------------------------------------------------------------------------------

export function qpDetailLines(hca: string, qp: QpDetails): string[] {
  const { peer, inHand, live } = qp;
  const isConnected = qp.remote !== undefined;
  return [
    bold(`${hca} QP ${numberText(qp.number)}  ${qp.service}${qp.special === undefined ? "" : ` ${qp.special}`}  ${qp.state}`),
    ...labelled([
      ["owner", `port ${qp.port}, PD ${qp.pd}, UAR ${qp.uar}`],
      ["send", `${ringText(qp.send)}, CQ ${qp.sendCq}`],
      ["receive", `${qp.receive === undefined ? `SRQ ${qp.srq}` : ringText(qp.receive)}, CQ ${qp.receiveCq}`],
      ["PSN", isConnected ? `${qp.sendPsn} out, ${qp.receivePsn} in; ${plural(live.messages, "message")} received` : undefined],
      ["retries", qp.retriesLeft === undefined ? undefined : `left: ${qp.retriesLeft}, RNR ${qp.rnrRetriesLeft}`],
      ["path", isConnected ? live.migration : undefined],
      ["peer", peer === undefined ? undefined : `${peer.hca} QP ${numberText(peer.number)} ${peer.service} ${peer.state}`],
      ["problem", warning(qp.peerProblem)],
      ["waits for", waitText(qp)],
      ["scheduled", qp.isActive ? "has work" : undefined],
      ["in hand", inHand === undefined ? undefined : inHandText(inHand)],
      ["receiving", live.isReceiving ? `into the WQE at ${hex(live.receiveOffset)}` : undefined],
    ]),
    ...block("next sends", wqeLines(qp.sends)),
    ...block("next receives", wqeLines(qp.receives)),
    ...block("context, as its driver wrote it", recordLines(qp.context)),
    ...block("primary path", recordLines(qp.primaryPath)),
    ...block("alternate path", isEmpty(qp.alternatePath) ? ["not set"] : recordLines(qp.alternatePath)),
  ];
}

const inHandText = ({ opcode, offset, doneBytes, totalBytes }: NonNullable<QpDetails["inHand"]>): string =>
  `${opcode} at ${hex(offset)}: ${doneBytes} of ${totalBytes} bytes`;

const block = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : ["", bold(title), ...indented(lines)];

const isEmpty = (record: Record<string, number | string>): boolean =>
  Object.values(record).every((value) => (typeof value === "number" ? value === 0 : !/[1-9a-f]/.test(value)));

/** Numbers of fields that have names. */
const namesOf: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  state: QpState,
  service: Service,
  pathMigration: PathMigration,
};
/** Fields that people know in hexadecimal. */
const HEX = /qpn$|key$|base|address|offset/i;

function recordLines(record: Record<string, number | string>): string[] {
  const text = (name: string, value: number | string): string => {
    const names = namesOf[name];
    if (typeof value === "string") return value;
    if (names !== undefined) return nameOf(names, value);
    return HEX.test(name) ? hex(value) : String(value);
  };
  const pairs = Object.entries(record).map(([name, value]) => [name, text(name, value)] as const);
  // A GID would make every column as wide as itself.
  const isLong = ([, value]: readonly [string, string]): boolean => value.length > 20;
  return [
    ...grid(
      pairs.filter((pair) => !isLong(pair)),
      INNER,
    ),
    ...pairs.filter(isLong).map((pair) => pair.join("  ")),
  ];
}

// ---- work requests and completions ------------------------------------------------------------------------------------

function wqeLines(wqes: readonly WqeView[]): string[] {
  return wqes.flatMap((wqe) => [
    wqeHead(wqe),
    ...indented(
      [
        ...(wqe.remote === undefined ? [] : [`remote  ${wqe.remote.address}  rkey ${wqe.remote.rkey}`]),
        ...(wqe.atomic === undefined ? [] : [`atomic  swap or add ${wqe.atomic.swapAdd}, compare ${wqe.atomic.compare}`]),
        ...(wqe.datagram === undefined ? [] : [datagramText(wqe.datagram)]),
        ...(wqe.management === undefined ? [] : [`packet  ${pairsText(wqe.management)}`]),
        ...(wqe.inlineBytes === undefined ? [] : [`inline  ${wqe.inlineBytes} bytes`]),
        ...segmentLines(wqe),
      ],
      7,
    ),
  ]);
}

function wqeHead({ index, offset, opcode, sizeBytes, flags, immediate, problem }: WqeView): string {
  const hasImmediate = opcode?.endsWith("_IMM") === true;
  const parts = [
    ...(opcode === undefined ? [] : [opcode]),
    `at ${hex(offset)}`,
    ...(sizeBytes === 0 ? [] : [`${sizeBytes} B`]),
    ...flags,
    ...(hasImmediate ? [`immediate ${immediate}`] : []),
    ...(problem === undefined ? [] : [yellow(problem)]),
  ];
  return `${String(index).padStart(5)}  ${parts.join("  ")}`;
}

function segmentLines({ segments }: WqeView): string[] {
  return segments.map(
    ({ address, lkey, length, problem }) =>
      `data    ${address}  lkey ${lkey}  ${length} bytes${problem === undefined ? "" : `  ${yellow(problem)}`}`,
  );
}

const pairsText = (record: Record<string, number | string>): string =>
  Object.entries(record)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");

function datagramText({ destQpn, qkey, dlid, sl, grh, dgid }: Record<string, number | string>): string {
  const to = `to      QP ${hex(Number(destQpn))} at LID ${dlid}, Q_Key ${qkey}, SL ${sl}`;
  return grh === 1 ? `${to}, GID ${dgid}` : to;
}

export function cqDetailLines(hca: string, cq: CqDetails): string[] {
  return [
    bold(`${hca} CQ ${numberText(cq.number)}${cq.isBroken ? "  broken" : ""}`),
    ...labelled([
      ["owner", `PD ${cq.pd}, UAR ${cq.uar}, EQ ${cq.eq}`],
      ["entries", `${cq.producer} written, ${cq.consumer} taken, ${cq.size} fit`],
      ["armed", armedText(cq.armed)],
    ]),
    ...userLines(cq.qps),
    ...block("latest entries", cqeLines(cq.entries)),
    ...(cq.problem === undefined ? [] : [`  ${yellow(cq.problem)}`]),
  ];
}

function cqeLines(entries: readonly CqeView[]): string[] {
  if (entries.length === 0) return [];
  const rows = entries.map((cqe) => [
    String(cqe.index),
    hex(cqe.qpn),
    cqe.isSend ? "send" : "receive",
    cqe.syndrome === undefined ? whatText(cqe) : yellow(cqe.syndrome),
    String(cqe.byteCount),
    cqe.wqe,
    cqe.remoteQpn === 0 ? "" : `QP ${hex(cqe.remoteQpn)} at LID ${cqe.remoteLid}`,
    cqe.isTaken ? "" : "not taken",
  ]);
  return table([">CQE", "QP", "queue", "what", ">bytes", "WQE at", "from", ""], rows).split("\n");
}

const whatText = ({ opcode, immediate }: CqeView): string => (opcode.endsWith("_IMM") ? `${opcode} ${immediate}` : opcode);

function userLines(qps: readonly number[]): string[] {
  const words = [...qps.map((qpn) => hex(qpn)), ...(qps.length === USERS_SHOWN ? ["…"] : [])];
  const lines = wrapList(words, INNER - LABEL_WIDTH);
  return lines.map((line, i) => `  ${(i === 0 ? "QPs" : "").padEnd(LABEL_WIDTH)}${line}`);
}

// ---- SRQ and region ---------------------------------------------------------------------------------------------------

export function srqDetailLines(hca: string, srq: SrqDetails): string[] {
  return [
    bold(`${hca} SRQ ${numberText(srq.number)}${srq.isBroken ? "  broken" : ""}`),
    ...labelled([
      ["owner", `PD ${srq.pd}, UAR ${srq.uar}, lkey ${srq.lkey}`],
      ["WQEs", `${srq.posted} posted of ${srq.size}, ${srq.taken} taken`],
      ["limit", srq.limit === 0 ? "off" : `event below ${srq.limit}`],
    ]),
    ...userLines(srq.qps),
    ...block("next receives", wqeLines(srq.receives)),
  ];
}

export function regionDetailLines(hca: string, region: RegionDetails): string[] {
  const rows = region.pages.map(({ offset, dmaAddress, problem }) => [hex(offset), dmaAddress, problem ?? ""]);
  return [
    bold(`${hca} region ${region.key}`),
    ...labelled([
      ["owner", `PD ${region.pd}, entry ${region.index}`],
      ["range", `${region.start}, ${lengthText(region.length)}`],
      ["access", accessText(region.access)],
      [
        "pages",
        region.isPhysical ? "none: physical addresses" : `${bytesText(region.pageBytes)} each, MTT at ${region.mttAddress}`,
      ],
    ]),
    ...block("first pages", rows.length === 0 ? [] : table([">offset", "in guest memory", ""], rows).split("\n")),
  ];
}

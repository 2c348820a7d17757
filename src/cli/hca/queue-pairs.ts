// Queue pairs in the tree of `vhca hca show`: two lines each, what it is and how far it has come.

import { hex } from "../../base/names.ts";
import type { QpView } from "../../control/api.ts";
import { alignColumns } from "../output.ts";
import { millisText, numberText, ringText } from "./text.ts";

export function qpLines(qps: readonly QpView[]): string[] {
  const names = alignColumns(qps.map(identityCells));
  const lives = alignColumns(qps.map(liveCells));
  return qps.flatMap((qp, i) => {
    const waits = waitText(qp);
    return [names[i] ?? "", `    ${lives[i] ?? ""}`, ...(waits === undefined ? [] : [`    waits for ${waits}`])];
  });
}

function identityCells(qp: QpView): string[] {
  const cqs = qp.sendCq === qp.receiveCq ? `CQ ${qp.sendCq}` : `CQs ${qp.sendCq}, ${qp.receiveCq}`;
  return [
    numberText(qp.number),
    qp.special === undefined ? qp.service : `${qp.service} ${qp.special}`,
    qp.state,
    qp.remote === undefined ? "" : `to QP ${hex(qp.remote.qpn)} at LID ${qp.remote.lid}`,
    `PD ${qp.pd}`,
    `UAR ${qp.uar}`,
    cqs,
    qp.srq === undefined ? "" : `SRQ ${qp.srq}`,
  ];
}

function liveCells(qp: QpView): string[] {
  return [
    `send ${ringText(qp.send)}`,
    qp.receive === undefined ? "" : `receive ${ringText(qp.receive)}`,
    qp.remote === undefined ? "" : `PSN ${qp.sendPsn} out, ${qp.receivePsn} in`,
    qp.isActive ? "active" : "",
  ];
}

/** What a QP waits for and how often it still will; undefined if it does not wait. */
export function waitText(qp: QpView): string | undefined {
  if (qp.waitsNs === undefined) return undefined;
  const isRnr = qp.waitsFor === "RNR";
  const what = isRnr ? "a receive WQE at the peer (RNR)" : "an answer of the peer";
  const left = isRnr ? qp.rnrRetriesLeft : qp.retriesLeft;
  return `${what}: next try in ${millisText(qp.waitsNs)}, ${left === "no limit" ? left : `${left} left`}`;
}

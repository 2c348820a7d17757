// The table at the end of the tour, and the file with the same figures.

import { mkdirSync, writeFileSync } from "node:fs";
import { arch, availableParallelism, cpus, hostname, release } from "node:os";
import { join } from "node:path";
import { bold, dim, printLine, table } from "../output.ts";
import { VERSION } from "../version.ts";
import type { Figure } from "./pair.ts";

export interface TourResult {
  /** What carried the guests: "tcg", "kvm" or "in process". */
  accelerator: string;
  bootSeconds: { mapped: number; trapped: number } | undefined;
  /** Nanoseconds of an 8-byte store in the guest: to the doorbell page and to memory. */
  store: { doorbell: number; memory: number } | undefined;
  mapped: Figure[];
  trapped: Figure[];
}

const POLLING_VMS = 2;

/** How many times better `mapped` is; latencies compare the other way round than bandwidths. */
const ratio = (mapped: Figure, trapped: Figure): number =>
  mapped.kind === "latency" ? trapped.value / mapped.value : mapped.value / trapped.value;

const figureText = ({ value, unit }: Figure): string => `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${unit}`;

const perOperation = ({ messages, operations }: Figure): string => {
  const each = operations === 0 ? 0 : messages / operations;
  return messages === 0 ? "0" : each.toFixed(each < 10 ? 2 : 0);
};

/** Prints operation, mapped, trapped, ratio and vfio-user messages per operation. */
export function printReport(result: TourResult): void {
  // A ratio of function calls would mean nothing.
  const isReal = result.bootSeconds !== undefined;
  const head = ["operation", ">mapped", ">trapped", ...(isReal ? [">ratio"] : []), ">messages/op mapped", ">trapped"];
  const rows = result.mapped.map((mapped) => {
    const trapped = result.trapped.find((f) => f.name === mapped.name);
    if (trapped === undefined) return [mapped.name, figureText(mapped)];
    return [
      mapped.name,
      figureText(mapped),
      figureText(trapped),
      ...(isReal ? [`${ratio(mapped, trapped).toFixed(1)} ×`] : []),
      perOperation(mapped),
      perOperation(trapped),
    ];
  });
  printLine(
    `\n${bold("Doorbells mapped into the guest, and trapped by the VMM")} ${dim(`(accelerator: ${result.accelerator})`)}`,
  );
  printLine(table(head, rows));
  printLine(
    dim("Ping-pong is there and back, send and write are one way, read and atomic are there and back. Messages include set-up."),
  );
  const cores = availableParallelism();
  if (isReal && cores <= POLLING_VMS) {
    printLine(
      dim(
        `With ${cores} cores for ${POLLING_VMS} polling VMs and the engine, one-way latencies are those of the scheduler: a mapped store wakes nobody, so\nthe engine changes cores after it (15 µs); a trapped one wakes it. The doorbell store, read and atomic show the path itself.`,
      ),
    );
  }
  if (result.store !== undefined) {
    const { doorbell, memory } = result.store;
    printLine(
      `Doorbell store in the guest: ${doorbell.toFixed(2)} ns; store to memory: ${memory.toFixed(2)} ns (${(doorbell / memory).toFixed(1)} ×)`,
    );
  }
}

/** Writes the figures with machine and versions beside them; returns the file's path. */
export function writeResults(folder: string, result: TourResult): string {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "tour.json");
  const machine = {
    host: hostname(),
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    arch: arch(),
    kernel: release(),
    node: process.version,
    vhca: VERSION,
  };
  writeFileSync(file, `${JSON.stringify({ what: "tour", date: new Date().toISOString(), machine, ...result }, null, 2)}\n`);
  return file;
}

// What HCAs and queue pairs cost those that work, when they only exist.

import { readFileSync } from "node:fs";
import { DriverCompletionQueue } from "../../../src/driver/completion-queue.ts";
import { DriverQueuePair } from "../../../src/driver/queue-pair.ts";
import { Service } from "../../../src/spec/ib/numbers.ts";
import { type BenchContext, type Group, scaled } from "../context.ts";
import { Domain } from "../domain.ts";
import { type Figure, ratioAtMost } from "../figure.ts";
import { bootGuests, type Guest } from "../guest.ts";
import { joinGuests, type Link } from "../link.ts";
import { clockCostNs, writeLatency } from "../loops.ts";
import { quantile, sorted } from "../statistics.ts";

/** The switch has 64 ports; the measured pair takes two. */
const IDLE_HCAS = 62;
const IDLE_QPS = 10_000;
const SAMPLES = 50_000;
const WARM_UP = 20_000;
const PAIR = ["n1", "n2"];
const IDLE_MEMORY_MIB = 8;

/** A domain with a measured pair and others that do nothing. */
interface Scene {
  readonly domain: Domain;
  readonly link: Link;
  readonly guests: readonly Guest[];
}

async function openScene(
  context: BenchContext,
  idleHcas: number,
  idleQps: number,
  close: (() => Promise<void>)[],
): Promise<Scene> {
  context.show(`${idleHcas} idle HCAs with ${idleQps} QPs`);
  const others = Array.from({ length: idleHcas }, (_, i) => `idle${i + 1}`);
  const domain = await Domain.start([...PAIR, ...others]);
  close.push(() => domain.stop());
  const pair = await bootGuests(domain, PAIR);
  const link = joinGuests(...(pair as [Guest, Guest]));
  const idle = await bootGuests(domain, others, { memoryMiB: IDLE_MEMORY_MIB, mtts: 2 ** 13 });
  for (const [i, guest] of idle.entries()) addIdleQps(guest, Math.floor((idleQps + i) / Math.max(1, idleHcas)));
  domain.freeze();
  return { domain, link, guests: [...pair, ...idle] };
}

/** Queue pairs as a program leaves them that has connected to somebody and then waits. */
function addIdleQps({ device, lid }: Guest, count: number): void {
  const pd = device.allocatePd();
  const cq = new DriverCompletionQueue(device, 127, pd);
  for (let i = 0; i < count; i++) {
    const qp = new DriverQueuePair(device, {
      service: Service.RC,
      pd,
      sendCq: cq,
      receiveCq: cq,
      sendWqes: 4,
      receiveWqes: 4,
      sges: 1,
    });
    qp.init();
    qp.readyToReceive({ remoteQpn: qp.number, dlid: lid });
    qp.readyToSend({ remoteQpn: qp.number, dlid: lid });
  }
}

function latencyOf({ domain, link }: Scene, count: number): Float64Array {
  const samples = new Float64Array(count);
  domain.thaw();
  writeLatency(link, samples);
  domain.freeze();
  return samples;
}

/** Memory of its own that a process holds, in KiB. */
const anonymousKiB = ({ domain }: Scene): number =>
  Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${domain.pid}/status`, "utf8"))?.[1] ?? 0);

function figuresOf(scenes: readonly Scene[], samples: readonly Float64Array[], qps: number): Figure[] {
  const clockNs = clockCostNs();
  const at = (i: number, fraction: number): number => quantile(samples[i] ?? new Float64Array(), fraction) - clockNs;
  const kib = scenes.map(anonymousKiB);
  const versus = (name: string, i: number, fraction: number, goal?: ReturnType<typeof ratioAtMost>): Figure => ({
    name,
    value: at(i, fraction),
    unit: "ns",
    reference: { name: "pair alone", value: at(0, fraction) },
    goal,
  });
  return [
    versus(`8 B write beside ${qps} idle QPs on ${IDLE_HCAS} HCAs, p50`, 2, 0.5, ratioAtMost(1.2)),
    versus(`8 B write beside ${qps} idle QPs on ${IDLE_HCAS} HCAs, p99`, 2, 0.99),
    versus(`8 B write beside ${IDLE_HCAS} idle HCAs without QPs, p50`, 1, 0.5),
    { name: "an idle HCA: latency of others", value: (at(1, 0.5) - at(0, 0.5)) / IDLE_HCAS, unit: "ns" },
    { name: "an idle QP: latency of others", value: (at(2, 0.5) - at(1, 0.5)) / qps, unit: "ns" },
    { name: "an idle HCA: memory of the domain", value: ((kib[1] ?? 0) - (kib[0] ?? 0)) / IDLE_HCAS, unit: "KiB" },
    { name: "an idle QP: memory of the domain", value: ((kib[2] ?? 0) - (kib[1] ?? 0)) / qps, unit: "KiB" },
  ];
}

export const idleQps: Group = {
  name: "idle-qps",
  summary: "8 B writes beside 10,000 idle queue pairs on 64 HCAs",
  async measure(context) {
    const close: (() => Promise<void>)[] = [];
    try {
      const qps = scaled(context, IDLE_QPS);
      const scenes: Scene[] = [];
      for (const [hcas, count] of [
        [0, 0],
        [IDLE_HCAS, 0],
        [IDLE_HCAS, qps],
      ] as const) {
        scenes.push(await openScene(context, hcas, count, close));
      }
      const taken = scenes.map((): Float64Array[] => []);
      for (const scene of scenes) latencyOf(scene, WARM_UP);
      for (let round = 1; round <= context.rounds; round++) {
        context.show(`beside idle QPs, round ${round} of ${context.rounds}`);
        for (const [i, scene] of scenes.entries()) taken[i]?.push(latencyOf(scene, scaled(context, SAMPLES)));
      }
      for (const guest of scenes.flatMap((scene) => scene.guests)) guest.access.close();
      return figuresOf(scenes, taken.map(sorted), qps);
    } finally {
      for (const one of close.reverse()) await one();
    }
  },
};

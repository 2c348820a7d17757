// What the programs in guests print, and what becomes of it: perftest, netperf, rxe, counts of virtio-net. The guests are played.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ExecResult } from "../../lab/vm/ssh.ts";
import { ethernetTally } from "../counting.ts";
import { EFFORTS } from "../effort.ts";
import type { StepContext } from "../plan.ts";
import { oneWay, streamRate, transactionRate } from "./netperf.ts";
import { hcaSeries, rxeStep } from "./perftest.ts";
import { withRxe } from "./rxe.ts";

const LATENCY_ROW =
  " 8       200          30.01          99.50        31.25             33.00            2.00            40.00            90.00";
const BANDWIDTH_ROW = " 65536      1000             5500.10            5000.25                    0.080000";
const HEAD = " #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    t_stdev[usec]\n";

interface Guests {
  readonly context: StepContext;
  /** "n1: command" */
  readonly said: string[];
}

/** Two guests that answer a command with what `answer` gives for it: output, or a status. */
function guests(answer: (command: string, node: string) => string | number): Guests {
  const said: string[] = [];
  const node = (name: string) => ({
    name,
    exec: async (command: string): Promise<ExecResult> => {
      said.push(`${name}: ${command}`);
      const result = answer(command, name);
      const [status, stdout] = typeof result === "number" ? [result, ""] : [0, result];
      return { status, stdout, stderr: status === 0 ? "" : "no such luck", timedOut: false };
    },
  });
  const nodes = [node("n1"), node("n2")];
  const lab = { nodes, node: (name: string) => nodes[name === "n1" ? 0 : 1] };
  const describe = async () => ({ hcas: [] });
  const context = {
    ...{ effort: { ...EFFORTS.tiny, sizes: [8] }, signal: new AbortController().signal, say: () => {} },
    pair: { lab, describe, stop: async () => {} },
  } as unknown as StepContext;
  return { context, said };
}

describe("perftest", () => {
  test("a latency is the typical one; as many messages are counted as iterations make", async () => {
    const { context, said } = guests(() => HEAD + LATENCY_ROW);
    const { series } = await hcaSeries(context, { figure: "latency-write", program: "ib_write_lat", kind: "latency" });
    assert.deepEqual(series.points, [{ x: 8, y: 31.25, low: 31.25, high: 31.25, samples: 1 }]);
    assert.equal(series.command, "ib_write_lat -d mthca0 -s 8 -n 200 n1");
    assert.equal(series.counts?.operations, 400);
    const clients = said.filter((each) => each.startsWith("n2"));
    assert.deepEqual(
      clients.map((each) => Number(/-n (\d+)/.exec(each)?.[1])),
      [200, 100, 300],
    );
  });

  test("a bandwidth comes from the rate of messages, which has more decimals", async () => {
    const { context } = guests(() => BANDWIDTH_ROW);
    const { series } = await hcaSeries(context, { figure: "bandwidth-write", program: "ib_write_bw", kind: "bandwidth" });
    assert.deepEqual(
      series.points.map(({ x, y }) => [x, y]),
      [[65536, 0.08 * 65536]],
    );
  });

  test("a program that fails is named, with its last words", async () => {
    const { context } = guests((_, node) => (node === "n2" ? 124 : ""));
    const test = { figure: "latency-send", program: "ib_send_lat", kind: "latency" } as const;
    await assert.rejects(hcaSeries(context, test), /ib_send_lat -d mthca0 -s 8 -n 200 n1: client status 124[\s\S]*no such luck/);
  });
});

describe("rxe", () => {
  test("is there while it is measured, and gone afterwards, also when that fails", async () => {
    const { context, said } = guests(() => "");
    await assert.rejects(
      withRxe(context, async () => assert.fail("measuring failed")),
      /measuring failed/,
    );
    const done = said.map((each) => /^(n\d): rdma link (add|delete) rxe0/.exec(each)?.slice(1).join(" "));
    assert.deepEqual(done, ["n1 add", "n2 add", "n1 delete", "n2 delete"]);
  });

  test("large messages are fewer", async () => {
    const counts = "frames 5\ninterrupts 7\n";
    const { context, said } = guests((command) => (command.includes("tx_packets") ? counts : HEAD + LATENCY_ROW));
    await rxeStep({ figure: "latency-send", program: "ib_send_lat", kind: "latency" }).measure(context);
    const runs = said.filter((each) => each.startsWith("n2: ib_send_lat -d rxe0")).map((each) => /-s (\d+) -n (\d+)/.exec(each));
    assert.deepEqual(
      runs.slice(0, 2).map((match) => [Number(match?.[1]), Number(match?.[2])]),
      [
        [8, 50],
        [65536, 8],
      ],
    );
  });
});

describe("netperf", () => {
  test("one way is half of the median, a rate is the second column, a stream's KiB are bytes", async () => {
    const { context, said } = guests((command) => (command.includes("TCP_RR") ? "500,1900.5\n" : "10000.00\n"));
    assert.deepEqual(await oneWay(context, "n1", 64), [{ x: 64, y: 250 }]);
    assert.deepEqual(await transactionRate(context, "n1-ib", 64), [{ x: 64, y: 1900.5 }]);
    assert.deepEqual(await streamRate(context, "n1-ib", 4096), [{ x: 4096, y: 10.24 }]);
    assert.match(said.at(-1) ?? "", /^n2: netperf -H n1-ib -t TCP_STREAM .* -f K .* -m 4096/);
    assert.match(said[0] ?? "", /^n1: .*netserver/);
  });

  test("output that is no number is an error that shows it", async () => {
    const { context } = guests(() => "netperf: no route to host");
    await assert.rejects(oneWay(context, "n1", 64), /TCP_RR .*: no route to host/s);
  });
});

test("frames and interrupts of virtio-net are those of both guests", async () => {
  const { context } = guests((_, node) => (node === "n1" ? "frames 10\ninterrupts 3\n" : "frames 20\ninterrupts 4\n"));
  assert.deepEqual(await ethernetTally(context.pair.lab)(), { messages: 30, interrupts: 7 });
});

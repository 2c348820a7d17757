// What ports count of multicast data that cross engines: each end of a cable the same, also where a copy finds no room between two engines.
// IBA vol 1, 16.1.3.5.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { setMulticastRoute } from "../../src/fabric/hand-made-subnet.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Qpn } from "../../src/spec/ib/numbers.ts";
import type { DataPath } from "../../src/transport/network.ts";
import { EngineHosts } from "./engine-hosts.ts";
import { Buffer64, datagramQp } from "./pair.ts";

const MLID = 0xc050;
const MGID = Uint8Array.from([0xff, 0x12, ...new Array(13).fill(0), 9]);
const QKEY = 0x1234;
const SL = 3;
const GRH = 40;
const MTU = 2048;
/** Of a packet as long as the MTU: LRH, GRH, BTH, DETH and ICRC. */
const WORDS = (8 + GRH + 12 + 8 + 4 + MTU) / 4;
const US = 1e3;
/** The tree of the group: s1 in the middle. */
const TREE = { s1: ["h1", "s2", "s3"], s2: ["h2", "s1"], s3: ["h3", "s1"] };
const CABLES = [
  ["h1", "s1"],
  ["s1", "s2"],
  ["s1", "s3"],
  ["s2", "h2"],
  ["s3", "h3"],
] as const;

/** Hosts with a queue pair in the group each. */
class Group extends EngineHosts {
  readonly #members: DriverQueuePair[] = [];

  constructor(dataPath: DataPath = "auto") {
    super(3, { dataPath });
    for (const host of this.hosts) {
      const qp = datagramQp(host, QKEY);
      host.device.multicast.attach(MGID, qp.number);
      for (let i = 0; i < 8; i++) qp.postReceive([new Buffer64(host, GRH + MTU).sge()]);
      this.#members.push(qp);
    }
    for (const [name, peers] of Object.entries(TREE)) {
      const ports = peers.map((peer) => this.port(name, peer));
      setMulticastRoute(
        this.switch(Number(name.slice(1))),
        MLID,
        ports.map(({ number }) => number),
      );
    }
    this.begin();
  }

  /** A host sends a message as long as the MTU to the group. @param prepare what is to happen just before that */
  send(from: string, prepare = (): void => {}): void {
    const sges = [new Buffer64(this.host(from), MTU).sge()];
    prepare();
    const to = { address: { dlid: MLID, dgid: MGID, sl: SL }, remoteQpn: Qpn.MULTICAST, qkey: QKEY };
    this.#members[Number(from.slice(1)) - 1]!.postSend({ opcode: SendOpcode.SEND, sges, ...to });
    this.elapse(50 * US, 50);
  }

  /** Packets that have gone from one end of a cable to the other: both ends have counted them and their words. */
  packets(from: string, to: string): number {
    const packets = this.same([from, to], "multicastXmitPackets", "multicastRcvPackets");
    assert.equal(this.same([from, to], `xmitDataSl${SL}`, `rcvDataSl${SL}`), packets * WORDS);
    return packets;
  }

  /** Of each cable, there and back. */
  counted(): [there: number, back: number][] {
    return CABLES.map(([a, b]) => [this.packets(a, b), this.packets(b, a)]);
  }
}

for (const dataPath of ["auto", "packets"] as const) {
  test(`${dataPath}: both ends of each cable count what crosses it`, () => {
    const group = new Group(dataPath);
    group.send("h1");
    group.send("h2");
    group.send("h2");
    assert.deepEqual(group.counted(), [
      [1, 2],
      [1, 2],
      [3, 0],
      [1, 2],
      [3, 0],
    ]);
  });

  test(`${dataPath}: a copy for which there is no room between engines is discarded where it would have left`, () => {
    const group = new Group(dataPath);
    group.send("h1", () => group.fillRing("s1", "s2"));
    assert.deepEqual(group.counted(), [
      [1, 0],
      [0, 0],
      [1, 0],
      [0, 0],
      [1, 0],
    ]);
    assert.equal(group.count(group.port("s1", "s2"), "xmitDiscards"), 1);
    group.send("h2", () => group.fillRing("s1", "s3"));
    assert.deepEqual(group.counted(), [
      [1, 1],
      [0, 1],
      [1, 0],
      [0, 1],
      [1, 0],
    ]);
    assert.equal(group.count(group.port("s1", "s3"), "xmitDiscards"), 1);
  });
}

// Path records: every way to ask for a path, and what limits it. IBA vol 1, 15.2.5.16.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { SimulatedSubnet } from "../../src/fabric/simulated-subnet.ts";
import { IPOIB_BROADCAST } from "../../src/sm/sa/mcmember.ts";
import { subnetManager } from "../../src/sm/subnet-manager.ts";
import { PathComponent as P } from "../../src/spec/mad/components.ts";
import { SaHeader } from "../../src/spec/mad/headers.ts";
import { SaStatus } from "../../src/spec/mad/numbers.ts";
import { PathRecord } from "../../src/spec/mad/sa-records.ts";
import { PortInfo } from "../../src/spec/mad/sm-attributes.ts";
import { AT, ask, bit, gidOf, hexOf, madOf, path, running, S, statusOf } from "./administrator-kit.ts";

test("a path as rdma_cm asks for it, byte by byte", () => {
  const { subnet } = running();
  const [a, b] = [gidOf(subnet, 0), gidOf(subnet, 1)];
  const answer = ask(
    subnet,
    0,
    madOf(
      `01030201 00000000 0000000300000005 00350000 00000000
      000000000000000000000000 0000000000000000 0000 0000 000000000000780f
      0000000001061234 ${hexOf(b)} ${hexOf(a)} 0000 0000 00000000 00 81 ffff 0000 00 00 00 00 000000000000`.replace(
        "01030201",
        "01030201",
      ),
    ),
  );
  assert.equal(statusOf(answer), 0);
  assert.equal(SaHeader.attributeOffset.get(answer.view, answer.madAt), 8);
  const lid = (n: number) => subnet.port(n).lid.toString(16).padStart(4, "0");
  assert.equal(
    hexOf(answer.bytes.subarray(answer.madAt + AT, answer.madAt + AT + 64)),
    "0000000001061234" +
      hexOf(b) +
      hexOf(a) +
      lid(1) +
      lid(0) +
      "00000000" +
      "00" +
      "81" +
      "ffff" +
      "0000" +
      "84" +
      "86" +
      "92" +
      "00" +
      "000000000000",
  );
});

test("paths by every combination: GIDs, LIDs, mixed, to oneself, to the switch, wrong P_Key and SL", () => {
  const { subnet } = running({ hosts: 4, switches: 2 });
  const pathTo = (mask: bigint, fill: (mad: DataView) => void) => {
    const answer = ask(subnet, 0, path(mask, fill));
    return { status: statusOf(answer), dlid: PathRecord.dlid.get(answer.view, answer.madAt + AT), answer };
  };
  const gids = (mad: DataView) => {
    PathRecord.sgid.set(mad, AT, gidOf(subnet, 0));
    PathRecord.dgid.set(mad, AT, gidOf(subnet, 3));
  };
  const asIpoib = (numbPath: number): number =>
    pathTo(bit(P.SGID, P.DGID, P.NUMB_PATH, P.TRAFFIC_CLASS, P.P_KEY), (mad) => {
      gids(mad);
      PathRecord.numbPath.set(mad, AT, numbPath);
      PathRecord.pkey.set(mad, AT, 0xffff);
    }).dlid;
  assert.equal(asIpoib(1), subnet.port(3).lid, "IPoIB");
  assert.equal(asIpoib(0), subnet.port(3).lid, "IPoIB that asks again with what OpenSM answered");
  const lids = (mad: DataView) => {
    PathRecord.slid.set(mad, AT, subnet.port(0).lid);
    PathRecord.dlid.set(mad, AT, subnet.port(2).lid);
  };
  assert.equal(pathTo(bit(P.SLID, P.DLID), lids).dlid, subnet.port(2).lid);
  assert.equal(
    pathTo(bit(P.SGID, P.DLID), (mad) => {
      gids(mad);
      lids(mad);
    }).dlid,
    subnet.port(2).lid,
  );
  assert.equal(
    pathTo(bit(P.SLID, P.DLID), (mad) => {
      lids(mad);
      PathRecord.dlid.set(mad, AT, subnet.port(0).lid);
    }).dlid,
    subnet.port(0).lid,
  );
  assert.equal(
    pathTo(bit(P.SLID, P.DLID), (mad) => {
      lids(mad);
      PathRecord.dlid.set(mad, AT, subnet.switches[1]!.lid);
    }).dlid,
    subnet.switches[1]!.lid,
  );
  const withPkey = (pkey: number) =>
    pathTo(bit(P.SGID, P.DGID, P.P_KEY), (mad) => {
      gids(mad);
      PathRecord.pkey.set(mad, AT, pkey);
    });
  assert.equal(withPkey(0x7fff).status, 0);
  assert.equal(withPkey(0x8001).status, SaStatus.NO_RECORDS);
  assert.equal(
    pathTo(bit(P.SGID, P.DGID, P.SL), (mad) => {
      gids(mad);
      PathRecord.sl.set(mad, AT, 3);
    }).status,
    SaStatus.NO_RECORDS,
  );
  assert.equal(
    pathTo(bit(P.SGID, P.DGID), (mad) => {
      gids(mad);
      PathRecord.dgid.set(mad, AT, Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, 9));
    }).status,
    SaStatus.REQ_INVALID_GID,
  );
  assert.equal(pathTo(bit(P.SLID), lids).status, SaStatus.TOO_MANY_RECORDS);
  assert.equal(
    pathTo(bit(P.SLID, P.DLID), (mad) => {
      lids(mad);
      PathRecord.dlid.set(mad, AT, 999);
    }).status,
    SaStatus.NO_RECORDS,
  );
  const multicast = pathTo(bit(P.SGID, P.DGID), (mad) => {
    gids(mad);
    PathRecord.dgid.set(mad, AT, IPOIB_BROADCAST);
  });
  assert.equal(multicast.dlid, 0xc000);
});

test("paths: selectors for MTU, rate and lifetime; the slowest link decides", () => {
  const { subnet } = running();
  const tryWith = (bits: number[], fill: (mad: DataView) => void) => {
    const answer = ask(
      subnet,
      0,
      path(bit(P.SLID, P.DLID, ...bits), (mad) => {
        PathRecord.slid.set(mad, AT, subnet.port(0).lid);
        PathRecord.dlid.set(mad, AT, subnet.port(1).lid);
        fill(mad);
      }),
    );
    const at = answer.madAt + AT;
    return {
      status: statusOf(answer),
      mtu: PathRecord.mtu.get(answer.view, at),
      rate: PathRecord.rate.get(answer.view, at),
      life: PathRecord.lifeTime.get(answer.view, at),
    };
  };
  const mtu = (selector: number, value: number) =>
    tryWith([P.MTU_SELECTOR, P.MTU], (mad) => {
      PathRecord.mtuSelector.set(mad, AT, selector);
      PathRecord.mtu.set(mad, AT, value);
    });
  assert.equal(mtu(0, 3).mtu, 4);
  assert.equal(mtu(0, 4).status, SaStatus.NO_RECORDS);
  assert.equal(mtu(1, 4).mtu, 3);
  assert.equal(mtu(1, 1).status, SaStatus.NO_RECORDS);
  assert.equal(mtu(2, 2).mtu, 2);
  assert.equal(mtu(2, 5).status, SaStatus.NO_RECORDS);
  assert.equal(mtu(3, 0).mtu, 4);
  const rate = (selector: number, value: number) =>
    tryWith([P.RATE_SELECTOR, P.RATE], (mad) => {
      PathRecord.rateSelector.set(mad, AT, selector);
      PathRecord.rate.set(mad, AT, value);
    });
  assert.equal(rate(3, 0).rate, 6, "20 Gb/s");
  assert.equal(rate(1, 6).rate, 3, "below 20 comes 10");
  assert.equal(rate(0, 5).rate, 6, "5 Gb/s is code 5, but slower than code 3");
  assert.equal(rate(2, 7).status, SaStatus.NO_RECORDS);
  const life = (selector: number, value: number) =>
    tryWith([P.LIFE_TIME_SELECTOR, P.LIFE_TIME], (mad) => {
      PathRecord.lifeTimeSelector.set(mad, AT, selector);
      PathRecord.lifeTime.set(mad, AT, value);
    });
  assert.equal(life(2, 20).life, 20);
  assert.equal(life(1, 18).status, SaStatus.NO_RECORDS);
});

test("paths: a trunk with a smaller MTU and a slower rate decides", () => {
  const subnet = new SimulatedSubnet({ hosts: 2, switches: 2, endpoint: subnetManager({ random: new Random(2) }) });
  const [trunk] = subnet.fabric.links;
  for (const port of [trunk!.a, trunk!.b]) {
    PortInfo.mtuCap.set(port.info, 0, 3);
    PortInfo.linkWidthEnabled.set(port.info, 0, 1);
  }
  trunk!.retrain();
  subnet.enableAll();
  assert.ok(subnet.run(() => subnet.hosts.every(({ port }) => port.isActive), S));
  const answer = ask(
    subnet,
    0,
    path(bit(P.SLID, P.DLID), (mad) => {
      PathRecord.slid.set(mad, AT, subnet.port(0).lid);
      PathRecord.dlid.set(mad, AT, subnet.port(1).lid);
    }),
  );
  const at = answer.madAt + AT;
  assert.deepEqual([PathRecord.mtu.get(answer.view, at), PathRecord.rate.get(answer.view, at)], [3, 5]);
});

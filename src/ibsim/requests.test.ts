import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../base/random.ts";
import { newRequest } from "../mad/mad.ts";
import { MadHeader } from "../spec/mad/headers.ts";
import { Method, MgmtClass } from "../spec/mad/numbers.ts";
import { MAX_OUTSTANDING, MAX_SENDS, RETRY_NS } from "./limits.ts";
import { type Request, Requests } from "./requests.ts";

const TAG = 0x21;

function request(tidHi: number, tidLo: number): Request {
  const mad = newRequest(MgmtClass.PERF, Method.GET, 1);
  MadHeader.tid.hi.set(mad, 0, tidHi);
  MadHeader.tid.lo.set(mad, 0, tidLo);
  return { mad, dlid: 1, destQp: 1, tidHi };
}

test("any order of sends and answers: what is taken is what was sent, as with a Map", () => {
  const random = new Random(11);
  const requests = new Requests(TAG, { send: () => {}, giveBack: () => assert.fail("nothing is due") });
  const model = new Map<string, Request>();
  for (let i = 0; i < 50_000; i++) {
    const [tidHi, tidLo] = [random.below(3) * 0x1_0001, random.below(400) * 0x8000_0001];
    const key = `${tidHi & 0xffff}:${tidLo | 0}`;
    if (!requests.isFull && random.chance(0.55)) {
      const sent = request(tidHi, tidLo);
      requests.send(sent, 0);
      model.set(key, sent);
      assert.equal(MadHeader.tid.hi.get(sent.mad, 0), (TAG << 16) | (tidHi & 0xffff));
    } else {
      assert.equal(requests.take(((TAG << 16) | (tidHi & 0xffff)) >>> 0, tidLo >>> 0), model.get(key));
      model.delete(key);
    }
    assert.equal(requests.count, model.size);
  }
  assert.equal(requests.take(((TAG + 1) << 16) >>> 0, 0), undefined, "another client's");
});

test("each is sent so often, in its own time, and given back once", () => {
  const sends = new Map<Request, number>();
  const given: Request[] = [];
  const requests = new Requests(TAG, {
    send: (each) => sends.set(each, (sends.get(each) ?? 0) + 1),
    giveBack: (each) => given.push(each),
  });
  const all = Array.from({ length: MAX_OUTSTANDING }, (_, i) => request(1, i * 77));
  all.forEach((each, i) => {
    requests.send(each, i);
  });
  assert.ok(requests.isFull);
  assert.equal(requests.nextDeadlineNs(), RETRY_NS);
  for (let nowNs = 0; requests.nextDeadlineNs() !== Number.POSITIVE_INFINITY; nowNs = requests.nextDeadlineNs()) {
    requests.step(nowNs);
    assert.ok(nowNs <= MAX_SENDS * RETRY_NS + MAX_OUTSTANDING);
  }
  assert.deepEqual(new Set(given), new Set(all));
  assert.equal(given.length, all.length);
  assert.ok([...sends.values()].every((count) => count === MAX_SENDS));
  assert.equal(requests.count, 0);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseQuota, quotaText } from "./quota.ts";

test("quotas are read with units and written back", () => {
  const quota = parseQuota("qps=100,registeredBytes=2G");
  assert.deepEqual(quota, { qps: 100, registeredBytes: 2 ** 31 });
  assert.deepEqual(parseQuota(quotaText(quota)), quota);
});

test("a quota that makes no sense says what would", () => {
  assert.throws(() => parseQuota("qps"), /expected NAME=NUMBER, such as qps=100/);
  assert.throws(() => parseQuota("mrs=5"), /there is no such quota; there are qps, cqs, srqs, regions/);
  assert.throws(() => parseQuota("qps=0"), /qps: /);
  assert.throws(() => parseQuota("qps=1,cqs=2,qps=3"), /qps: expected each quota once/);
  assert.throws(() => parseQuota("qps=1,"), /expected NAME=NUMBER/);
});

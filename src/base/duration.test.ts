import assert from "node:assert/strict";
import { test } from "node:test";
import { formatDuration, parseDuration } from "./duration.ts";

test("durations with their units", () => {
  const known = { "0ns": 0, "250ns": 250, "5us": 5000, "5µs": 5000, "1.5ms": 1_500_000, "2s": 2e9, "1m": 60e9, " 3 ms ": 3e6 };
  for (const [text, ns] of Object.entries(known)) assert.equal(parseDuration(text), ns, text);
});

test("what is no duration", () => {
  for (const text of ["", "5", "us", "-5us", "5 parsecs", "1e3us", "5us5us", "toString", "9999999999m"])
    assert.equal(parseDuration(text), undefined, text);
});

test("durations for people", () => {
  const known = { "0ns": 0, "999ns": 999, "5us": 5000, "1.5ms": 1_500_000, "2s": 2e9 };
  for (const [text, ns] of Object.entries(known)) assert.equal(formatDuration(ns), text);
});

// Cases that fuzzing has found, each cut down to what it takes. docs/fuzzing.md lists them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Command, CommandStatus, MapEntry } from "../../src/spec/hca/commands.ts";
import { TestBed } from "../in-process/pair.ts";
import { HcrIssuer } from "./hcr.ts";

test("MAP_ICM with one entry out of range maps none of the others", () => {
  const bed = new TestBed(1, { memoryBytes: 1 << 20 });
  const { icm } = bed[0].node.hca.adapter;
  bed[0].device.commands.useEvents(false);
  const before = icm.mappedPages;
  const status = new HcrIssuer(bed[0]).issue(Command.MAP_ICM, {
    modifier: 2,
    input: (view, at) => {
      MapEntry.icmAddress.setBig(view, at, 1n << 32n);
      MapEntry.icmAddress.setBig(view, at + MapEntry.byteLength, 1n << 40n);
    },
  });
  assert.equal(status, CommandStatus.EXCEED_LIM);
  assert.equal(icm.mappedPages, before);
});

// The header byte by byte.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ERF_BYTES, writeErfHeader } from "./erf.ts";

test("an ERF header", () => {
  const header = Buffer.alloc(ERF_BYTES, 0xee);
  writeErfHeader(header, 0, 2_500_000_000n, 290, 1);
  assert.equal(header.toString("hex"), "0000008002000000150501320000012" + "2");
});

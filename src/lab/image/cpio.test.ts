import assert from "node:assert/strict";
import { test } from "node:test";
import { CpioWriter } from "./cpio.ts";

interface Entry {
  readonly name: string;
  readonly mode: number;
  readonly data: string;
  readonly device: readonly [number, number];
}

/** Reads what the kernel would read, by the format's own rules: headers, names and data at multiples of four. */
function readArchive(archive: Buffer): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at < archive.length; ) {
    const field = (index: number): number =>
      Number.parseInt(archive.toString("latin1", at + 6 + index * 8, at + 14 + index * 8), 16);
    assert.equal(archive.toString("latin1", at, at + 6), "070701", `header at ${at}`);
    const nameLength = field(11);
    const name = archive.toString("utf8", at + 110, at + 110 + nameLength - 1);
    const dataAt = (at + 110 + nameLength + 3) & ~3;
    const size = field(6);
    entries.push({ name, mode: field(1), data: archive.toString("utf8", dataAt, dataAt + size), device: [field(9), field(10)] });
    at = (dataAt + size + 3) & ~3;
  }
  return entries;
}

test("cpio: what is written can be read back, for every length of name and data", () => {
  const cpio = new CpioWriter().folder("dev").characterDevice("dev/console", 0o600, 5, 1).link("bin", "usr/bin");
  for (let length = 0; length < 9; length++) cpio.file("x".repeat(length + 1), "d".repeat(length), 0o755);
  const entries = readArchive(cpio.finish());
  assert.deepEqual(entries[0], { name: "dev", mode: 0o040755, data: "", device: [0, 0] });
  assert.deepEqual(entries[1], { name: "dev/console", mode: 0o020600, data: "", device: [5, 1] });
  assert.deepEqual(entries[2], { name: "bin", mode: 0o120777, data: "usr/bin", device: [0, 0] });
  for (let length = 0; length < 9; length++)
    assert.deepEqual(entries[3 + length], {
      name: "x".repeat(length + 1),
      mode: 0o100755,
      data: "d".repeat(length),
      device: [0, 0],
    });
  assert.equal(entries.at(-1)?.name, "TRAILER!!!");
});

test("cpio: two archives in one file stay readable, and absolute paths are refused", () => {
  const both = Buffer.concat([new CpioWriter().file("a", "1").finish(), new CpioWriter().file("b", "22").finish()]);
  assert.deepEqual(
    readArchive(both).map(({ name }) => name),
    ["a", "TRAILER!!!", "b", "TRAILER!!!"],
  );
  assert.throws(() => new CpioWriter().file("/etc/passwd", ""), /relative/);
});

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Cache } from "../packages/cache.ts";
import type { Prepared } from "../prepare.ts";
import { dropSnapshots, KEPT_SNAPSHOTS, pruneSnapshots, type SnapshotMachine, snapshotKey } from "./snapshot.ts";

const folder = mkdtempSync(join(tmpdir(), "vhca-snapshot-"));
after(() => rmSync(folder, { recursive: true }));

const file = (name: string): string => {
  const path = join(folder, name);
  writeFileSync(path, name);
  return path;
};
const tool = { file: file("qemu"), args: [] };
const prepared: Prepared = {
  qemu: { tool, version: "11.1.3", where: "system" },
  ssh: { ssh: tool, keygen: tool },
  kernel: { release: "6.12", kernelFile: file("vmlinux"), bootArchive: file("boot.cpio"), modulesImage: file("modules") },
  image: { hash: "0123456789abcdef0", file: file("root"), sizeBytes: 4, packages: [], contents: [], names: [], builtAt: "" },
  verdict: { accelerator: "tcg", reason: "" },
};
const machine: SnapshotMachine = { accelerator: "tcg", memoryMiB: 1024, cpus: 1, ethernetMtu: 1500 };

test("snapshot key: the same for the same things, another one for each thing that is not", () => {
  const key = snapshotKey(prepared, machine);
  assert.equal(snapshotKey(structuredClone(prepared), { ...machine }), key);
  assert.match(key, /^0123456789abcdef-[0-9a-f]{16}$/);
  const { qemu, kernel, image } = prepared;
  const others = [
    snapshotKey(prepared, { ...machine, memoryMiB: 1025 }),
    snapshotKey(prepared, { ...machine, cpus: 2 }),
    snapshotKey(prepared, { ...machine, ethernetMtu: 9000 }),
    snapshotKey(prepared, { ...machine, accelerator: "kvm" }),
    snapshotKey({ ...prepared, qemu: { ...qemu, version: "11.1.4" } }, machine),
    snapshotKey({ ...prepared, qemu: { ...qemu, tool: { file: file("qemu2"), args: [] } } }, machine),
    snapshotKey({ ...prepared, kernel: { ...kernel, release: "7.3" } }, machine),
    snapshotKey({ ...prepared, image: { ...image, hash: "1123456789abcdef0" } }, machine),
  ];
  assert.equal(new Set([key, ...others]).size, others.length + 1);
});

test("snapshot key: a kernel that was built again under the same name counts as another one", () => {
  const key = snapshotKey(prepared, machine);
  utimesSync(prepared.kernel.kernelFile, 1, 1);
  assert.notEqual(snapshotKey(prepared, machine), key);
});

test("snapshots: the ones used last are kept; those of an image go with it", () => {
  const cache = new Cache(join(folder, "cache"));
  const make = (name: string, usedAt: number): void => {
    mkdirSync(cache.path("snapshots", name), { recursive: true });
    writeFileSync(cache.path("snapshots", name, "memory"), "x");
    utimesSync(cache.path("snapshots", name), usedAt, usedAt);
  };
  for (let i = 0; i < KEPT_SNAPSHOTS + 2; i++) make(`image${i % 2}-${i}`, 1000 + i);
  // the one that was just made counts as used, whatever the clock says
  pruneSnapshots(cache, "image0-0");
  const kept = Array.from({ length: KEPT_SNAPSHOTS - 1 }, (_, i) => KEPT_SNAPSHOTS + 1 - i).map((i) => `image${i % 2}-${i}`);
  assert.deepEqual(readdirSync(cache.path("snapshots")).sort(), ["image0-0", ...kept].sort());
  dropSnapshots(cache, "image1");
  assert.ok(readdirSync(cache.path("snapshots")).every((name) => name.startsWith("image0")));
  dropSnapshots(cache);
  assert.deepEqual(readdirSync(cache.path("snapshots")), []);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { loadOrder, moduleName, parseModulesDep, parseSoftdep } from "./modules.ts";

const DEP = `kernel/drivers/infiniband/core/ib_core.ko.xz:
kernel/drivers/infiniband/core/ib_uverbs.ko.xz: kernel/drivers/infiniband/core/ib_core.ko.xz
kernel/drivers/infiniband/hw/mthca/ib_mthca.ko.xz: kernel/drivers/infiniband/core/ib_uverbs.ko.xz kernel/drivers/infiniband/core/ib_core.ko.xz
kernel/arch/x86/crypto/crc32c-intel.ko.xz:
kernel/lib/libcrc32c.ko.xz:
kernel/fs/erofs/erofs.ko.xz: kernel/lib/libcrc32c.ko.xz
`;

test("modules: names are the same however a file spells them", () => {
  for (const path of ["kernel/a/crc32c-intel.ko.xz", "crc32c_intel.ko", "crc32c-intel", "x/crc32c_intel.ko.zst"])
    assert.equal(moduleName(path), "crc32c_intel");
});

test("modules: everything is loaded after what it needs, once, and built-in names are skipped", () => {
  const table = parseModulesDep(DEP);
  assert.deepEqual(loadOrder(["ib_mthca", "ib_core", "virtio_pci"], table), ["ib_core", "ib_uverbs", "ib_mthca"]);
  const soft = parseSoftdep("# comment\nsoftdep libcrc32c pre: crc32c\nsoftdep other pre: a b post: c\n");
  assert.deepEqual(soft.get("other"), ["a", "b"]);
  assert.deepEqual(loadOrder(["erofs"], table, soft), ["crc32c_intel", "libcrc32c", "erofs"]);
});

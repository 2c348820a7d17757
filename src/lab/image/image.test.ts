import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { LabError } from "../lab-error.ts";
import type { Package } from "../packages/apt.ts";
import { Cache } from "../packages/cache.ts";
import { normalisePackages } from "./guest-packages.ts";
import { findImage, getNamedPackages, imageHash, listImages, removeImage, selectionKey } from "./image.ts";
import { kernelPackages } from "./kernel.ts";

const pack = (name: string, version = "1"): Package => ({ name, version, file: `${name}.deb`, sizeBytes: 1, sha256: "00" });

test("image: the key of a selection does not depend on order or repetition, the hash depends on every version", () => {
  assert.equal(selectionKey(["ucx-utils", "openmpi-bin"]), selectionKey(["openmpi-bin", "ucx-utils", "perftest"]));
  assert.notEqual(selectionKey([]), selectionKey(["openmpi-bin"]));
  const hash = imageHash([pack("bash"), pack("perftest")]);
  assert.equal(hash, imageHash([pack("bash"), pack("perftest")]));
  assert.notEqual(hash, imageHash([pack("bash"), pack("perftest", "2")]));
  assert.notEqual(hash, imageHash([pack("bash"), pack("perftest"), pack("qperf")]));
});

test("image: what is not a package name never reaches apt-get's command line", () => {
  for (const name of ["-oDPkg::Pre-Invoke=x", "a b", "", "Bash", "x;y", "../x"])
    assert.throws(() => normalisePackages([name]), /package name/);
  assert.ok(normalisePackages(["libstdc++6", "python3.13"]).includes("libstdc++6"));
});

test("image: found by selection, known by name, gone after removal", () => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-image-"));
  try {
    const cache = new Cache(folder);
    mkdirSync(cache.path("images", "abcdef"), { recursive: true });
    writeFileSync(cache.path("images", "abcdef", "root.erofs"), "12345");
    writeFileSync(
      cache.path("images", "abcdef", "image.json"),
      JSON.stringify({ packages: ["hpcc"], builtAt: "2026", contents: ["hpcc 1"] }),
    );
    cache.updateState((state) => {
      state.images[selectionKey(["hpcc"])] = "abcdef";
      state.names.mpi = ["hpcc"];
      state.images[selectionKey(["libhpcc"])] = "abcdef";
      state.names.same = ["libhpcc"];
    });
    assert.equal(findImage(cache, ["hpcc"])?.sizeBytes, 5);
    assert.equal(findImage(cache, []), undefined);
    assert.deepEqual(
      listImages(cache).map(({ hash, names }) => [hash, names]),
      [["abcdef", ["mpi", "same"]]],
    );
    assert.deepEqual(getNamedPackages(cache, "mpi"), ["hpcc"]);
    assert.throws(
      () => getNamedPackages(cache, "mpl"),
      (error) => error instanceof LabError && /there are: mpi, same/.test(error.message),
    );
    mkdirSync(cache.path("snapshots", "abcdef-1"), { recursive: true });
    removeImage(cache, "mpi");
    assert.equal(findImage(cache, ["hpcc"]), undefined);
    assert.ok(existsSync(cache.path("snapshots", "abcdef-1")));
    assert.deepEqual(findImage(cache, ["libhpcc"])?.names, ["same"], "the other name still stands for it");
    assert.throws(() => removeImage(cache, "mpi"), /no image mpi/);
    removeImage(cache, "abcd");
    assert.ok(!existsSync(cache.path("snapshots", "abcdef-1")), "what was made from it goes with it");
    assert.deepEqual([listImages(cache), cache.readState().names, cache.readState().images], [[], {}, {}]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("kernel: of a closure only the kernel's own packages are kept", () => {
  const names = [
    "linux-image-amd64",
    "linux-image-7.3.4+deb13-amd64",
    "linux-binary-7.3.4+deb13-amd64",
    "linux-modules-7.3.4+deb13-amd64",
  ];
  const closure = [...names, "linux-base", "linux-base-7.3.4+deb13-amd64", "kmod", "initramfs-tools"].map((name) => pack(name));
  assert.deepEqual(
    kernelPackages(closure).map(({ name }) => name),
    names.slice(1),
  );
});

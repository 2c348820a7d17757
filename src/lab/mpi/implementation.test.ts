// How MPI programs are started: which implementation, which network, and nothing beside it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { findMpi, missingMpiPackages, quote, starter } from "./implementation.ts";
import { parsePingPong } from "./ping-pong.ts";

const image = (...names: string[]): { contents: string[] } => ({ contents: names.map((name) => `${name} 1.0-1`) });

test("the implementation is the one asked for, else Open MPI, else what there is", () => {
  const both = image("mpich", "openmpi-bin");
  assert.equal(findMpi(both).implementation, "openmpi");
  assert.deepEqual(findMpi(both, "mpich"), { implementation: "mpich", version: "1.0-1" });
  assert.equal(findMpi(image("libc6", "mpich")).implementation, "mpich");
  assert.throws(() => findMpi(image("mpich"), "openmpi"), /the guest image has no Open MPI; add --packages openmpi-bin/);
  assert.throws(() => findMpi(image("libc6")), /has no MPI; add --packages openmpi-bin or mpich/);
});

test("a package is added where none is named, of the implementation that the others speak of", () => {
  assert.deepEqual(missingMpiPackages([]), ["openmpi-bin"]);
  assert.deepEqual(missingMpiPackages(["hpcc"]), ["openmpi-bin"]);
  assert.deepEqual(missingMpiPackages(["libmpich-dev"]), ["mpich"]);
  assert.deepEqual(missingMpiPackages(["mpich"]), []);
  assert.deepEqual(missingMpiPackages(["openmpi-bin"], "mpich"), ["mpich"]);
});

const job = { nodes: ["n1", "n2"], ranks: 4, network: "hca", environment: { A: "b c" } } as const;

test("over the HCA, UCX has one transport and one device, and Open MPI nothing but UCX", () => {
  const words = starter("openmpi", job);
  for (const word of ["--mca pml ucx", "--mca osc ucx", "-x UCX_TLS=rc_v,self", "-x UCX_NET_DEVICES=mthca0:1", "-n 4"])
    assert.ok(words.includes(word), `${word} in ${words}`);
  assert.ok(words.endsWith("-x A='b c'"), words);
  const mpich = starter("mpich", job);
  for (const word of ["-genv UCX_TLS rc_v,self", "-genv UCX_NET_DEVICES mthca0:1", "-genv MPIR_CVAR_NOLOCAL 1", "-hosts n1,n2"])
    assert.ok(mpich.includes(word), `${word} in ${mpich}`);
});

test("over TCP, neither takes the HCA", () => {
  const words = starter("openmpi", { ...job, network: "ethernet" });
  assert.match(words, /--mca pml ob1 --mca btl tcp,self --mca btl_tcp_if_include eth0/);
  assert.doesNotMatch(words, /mthca|pml ucx/);
  assert.match(starter("mpich", { ...job, network: "ipoib" }), /UCX_TLS tcp,self -genv UCX_NET_DEVICES ib0/);
});

test("quote: one word for a shell", () => {
  assert.deepEqual(["a/b.c", "a b", "it's", ""].map(quote), ["a/b.c", "'a b'", "'it'\\''s'", "''"]);
});

test("parsePingPong reads the program's lines and no others", () => {
  const output = "[n1] a warning\n1 44.509 0.113 64\n65536 167.684 536.892 48\n";
  assert.deepEqual(parsePingPong(output), [
    { bytes: 1, latencyUs: 44.509, bandwidthMbps: 0.113, batches: 64 },
    { bytes: 65536, latencyUs: 167.684, bandwidthMbps: 536.892, batches: 48 },
  ]);
});

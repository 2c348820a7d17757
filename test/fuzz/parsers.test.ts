// Text and bytes from outside that the lab reads: apt's output, module tables, kernels, lines of programs, frames of guests. Where a
// right text can be made, the parser gives back what it was made of; where it is bent, it gives something of the right shape and
// throws nothing it does not say it throws.

import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { gzipSync, zstdCompressSync } from "node:zlib";
import type { Random } from "../../src/base/random.ts";
import { LineSplitter } from "../../src/cli/line-splitter.ts";
import { measurements } from "../../src/cli/tour/measurements.ts";
import { CpioWriter } from "../../src/lab/image/cpio.ts";
import { loadOrder, moduleName, parseModulesDep, parseSoftdep } from "../../src/lab/image/modules.ts";
import { extractVmlinux } from "../../src/lab/image/vmlinux.ts";
import { parseUris } from "../../src/lab/packages/apt.ts";
import { acquireSettings, chooseMirrors, parseTargets } from "../../src/lab/packages/machine.ts";
import { onLines } from "../../src/lab/run-command.ts";
import { type Budget, fuzz } from "./kit.ts";
import { bend, randomBytes } from "./values.ts";

const word = (random: Random): string => `${random.pick(["ib", "lib", "a", "x1", "erofs"])}${random.below(20)}`;

/** A right text with some of its bytes changed. */
function bentText(random: Random, text: string): string {
  const bytes = Buffer.from(text);
  for (let i = random.below(4); i >= 0; i--) bend(random, bytes, bytes.length);
  return bytes.toString("utf8");
}

// ---- apt ------------------------------------------------------------------------------------------------------------------

function aptUris(random: Random): void {
  const packages = Array.from({ length: random.below(6) }, (_, i) => ({
    name: `${word(random)}-${i}`,
    version: random.pick(["1.2-3", "1:2.0~rc1", "5+dfsg-1"]),
    sizeBytes: random.below(1e9),
    sha256: random.chance(0.8) ? randomBytes(random, 32).toString("hex") : "",
  }));
  const lines = packages.map(({ name, version, sizeBytes, sha256 }) => {
    const file = `${name}_${version.replace(":", "%3a")}_amd64.deb`;
    return `'http://mirror/pool/${file}' ${file} ${sizeBytes} ${sha256 === "" ? "" : `SHA256:${sha256}`}`;
  });
  const noise = random.chance(0.5) ? ["E: noise", "", "Reading…"] : [];
  const text = [...noise, ...lines, ...noise].join("\n");
  const found = parseUris(text).map(({ file: _file, ...rest }) => rest);
  assert.deepEqual(
    found,
    [...packages].sort((a, b) => (a.name < b.name ? -1 : 1)),
  );
  for (const each of safely(() => parseUris(bentText(random, text)), /URI malformed/) ?? []) {
    assert.ok(Number.isFinite(each.sizeBytes) && !each.file.includes(" "), JSON.stringify(each));
  }
}

function aptMachine(random: Random): void {
  const sites = ["http://deb/debian", "http://vendor/x", "http://other/debian/"];
  const releases = ["trixie", "trixie-updates", "trixie-security", "stable", "focal", "trixie-backports"];
  const text = Array.from({ length: random.below(8) }, () =>
    [random.pick(sites), random.pick(releases), random.pick(["main", "contrib"])].join("|"),
  ).join("\n");
  const targets = parseTargets(text);
  const { archive, security } = chooseMirrors(targets);
  for (const mirror of [archive, security]) assert.ok(mirror === undefined || targets.some(({ site }) => site === mirror.uri));
  const hasUpdates = targets.some((t) => t.release === "trixie-updates" && t.component === "main" && t.site === archive?.uri);
  const isThere = targets.some((t) => t.component === "main" && /^(trixie|stable)$/.test(t.release));
  assert.equal(archive !== undefined, isThere || hasUpdates, text);
  chooseMirrors(parseTargets(bentText(random, text)));
  const dump = ['Acquire::http::Proxy "http://p:3128";', 'Acquire::Languages "de";', 'Acquire::Empty "";', 'Dir "/";'];
  assert.deepEqual(acquireSettings(dump.join("\n")), dump.slice(0, 1));
}

// ---- kernel and modules ------------------------------------------------------------------------------------------------------

/** Every module after what it needs, each once; loops in the table come to an end. */
function modules(random: Random, budget: Budget): void {
  const names = Array.from({ length: 2 + random.below(8) }, (_, i) => `m${i}`);
  const isLooped = random.chance(0.3);
  const needs = names.map((_, i) => names.filter((_, j) => (isLooped ? j !== i : j < i) && random.chance(0.3)));
  const path = (name: string): string => `kernel/${name}.ko${random.pick(["", ".xz", ".zst"])}`;
  const text = names.map((name, i) => `${path(name)}: ${(needs[i] ?? []).map(path).join(" ")}`).join("\n");
  const table = parseModulesDep(text);
  assert.deepEqual(
    names.map((name) => table.get(name)?.needs),
    needs,
  );
  const wanted = names.filter(() => random.chance(0.5));
  const order = loadOrder([...wanted, "built_in"], table);
  budget.step();
  assert.equal(new Set(order).size, order.length, "each once");
  assert.ok(wanted.every((name) => order.includes(name)));
  if (!isLooped) {
    for (const [at, name] of order.entries()) {
      for (const need of table.get(name)?.needs ?? []) assert.ok(order.indexOf(need) < at, `${need} before ${name}`);
    }
  }
  loadOrder(wanted, parseModulesDep(bentText(random, text)), parseSoftdep(bentText(random, "softdep m1 pre: m2 m0 post: m3\n")));
  assert.equal(moduleName(path("a-b")), "a_b");
}

const PVH_NOTE = Buffer.from([4, 0, 0, 0, 8, 0, 0, 0, 18, 0, 0, 0, ...Buffer.from("Xen\0")]);

function kernel(random: Random): void {
  const elf = Buffer.concat([Buffer.from("\x7fELF", "latin1"), randomBytes(random, random.below(300)), PVH_NOTE]);
  const packed = Buffer.concat([random.pick([gzipSync, zstdCompressSync])(elf), Buffer.alloc(4)]);
  const image = Buffer.alloc(3 * 512 + packed.length + random.below(50));
  const sectors = random.pick([0, 1, 2]);
  image[0x1f1] = sectors;
  image.write("HdrS", 0x202, "latin1");
  const start = ((sectors || 4) + 1) * 512;
  const whole = Buffer.concat([image, Buffer.alloc(start)]);
  whole.writeUInt32LE(0, 0x248);
  whole.writeUInt32LE(packed.length, 0x24c);
  packed.copy(whole, start);
  assert.ok(extractVmlinux(whole)?.equals(elf), "the kernel comes out");
  const bent = Buffer.from(whole);
  bend(random, random.chance(0.5) ? bent.subarray(start) : bent.subarray(0x1f0, 0x250), 40);
  const found = extractVmlinux(bent);
  assert.ok(found === undefined || found.readUInt32BE(0) === 0x7f454c46);
}

function archive(random: Random): void {
  const cpio = new CpioWriter();
  const files = Array.from({ length: random.below(6) }, (_, i) => ({
    name: `${word(random)}/${i}`,
    data: randomBytes(random, random.below(40)),
    mode: random.pick([0o644, 0o755]),
  }));
  for (const { name, data, mode } of files) cpio.file(name, data, mode);
  assert.deepEqual(readArchive(cpio.finish()), files, "what was written is read");
}

/** Reads a newc archive by the format's rules. */
function readArchive(bytes: Buffer): { name: string; data: Buffer; mode: number }[] {
  const files: { name: string; data: Buffer; mode: number }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const field = (i: number): number => Number.parseInt(bytes.toString("latin1", at + 6 + i * 8, at + 14 + i * 8), 16);
    const name = bytes.toString("utf8", at + 110, at + 109 + field(11));
    const dataAt = (at + 110 + field(11) + 3) & ~3;
    if (name === "TRAILER!!!") break;
    files.push({ name, data: bytes.subarray(dataAt, dataAt + field(6)), mode: field(1) & 0o777 });
    at = (dataAt + field(6) + 3) & ~3;
  }
  return files;
}

// ---- lines ------------------------------------------------------------------------------------------------------------------

const LINES = ["", "one", "zwei ü", "日本", "x".repeat(200), "a\rb", "{}"];

/** The same lines however a stream is cut into chunks. */
async function lines(random: Random): Promise<void> {
  const expected = Array.from({ length: random.below(8) }, () => random.pick(LINES));
  const hasEnd = expected.length > 0 && random.chance(0.5);
  const bytes = Buffer.from(expected.join("\n") + (hasEnd ? "\n" : ""));
  const wanted = hasEnd || expected.at(-1) !== "" ? expected : expected.slice(0, -1);
  const [split, streamed]: [string[], string[]] = [[], []];
  const splitter = new LineSplitter((line) => split.push(line));
  const stream = new PassThrough();
  onLines(stream, (line) => streamed.push(line));
  const ended = new Promise((resolve) => stream.once("end", resolve));
  for (let at = 0; at < bytes.length; ) {
    const next = Math.min(bytes.length, at + 1 + random.below(12));
    splitter.push(bytes.subarray(at, next));
    stream.write(bytes.subarray(at, next));
    at = next;
  }
  splitter.end();
  stream.end();
  await ended;
  const isEmpty = bytes.length === 0;
  assert.deepEqual(split, isEmpty ? [] : wanted, "LineSplitter");
  assert.deepEqual(streamed, isEmpty ? [] : wanted, "onLines");
}

function figures(random: Random): void {
  const list = measurements({ latency: 10, bandwidth: 10, pingpong: 10 });
  const value = random.below(1e6) / 100;
  const latency = ` #bytes #iterations t_min\n 8       2000          ${value}          4.95      ${value}  1.0 2.0 3.0\n`;
  const one = list.find(({ name }) => name === "RDMA write 8 B");
  assert.equal(one?.parse(latency), value);
  for (const { parse } of list) assert.ok(["number", "undefined"].includes(typeof parse(bentText(random, latency))));
}

/** What a parser returns, or undefined if it has thrown what it may throw. */
function safely<T>(parse: () => T, allowed: RegExp): T | undefined {
  try {
    return parse();
  } catch (error) {
    assert.match(String(error), allowed);
    return undefined;
  }
}

const PARSERS = { aptUris, aptMachine, modules, kernel, archive, lines, figures };
const NAMES = Object.keys(PARSERS) as (keyof typeof PARSERS)[];

fuzz("parsers", async (random, budget) => {
  const name = random.pick(NAMES);
  budget.note(name);
  budget.trace(name);
  await PARSERS[name](random, budget);
});

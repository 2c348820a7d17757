import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { OUTSIDE } from "../base/bytes.ts";
import { Window } from "../base/window.ts";
import { Mapping } from "./mapping.ts";
import { CHUNK_BYTES, createSharedMemory, type OwnedSharedMemory, SharedMemoryRegistry } from "./shared-memory.ts";
import { collectGarbage } from "./thrift.ts";
import { threadWindow } from "./window.ts";

const MIB = 2 ** 20;
/** With room for 16 MiB. */
const newRoom = (): Window => new Window(new WebAssembly.Memory({ initial: 257, maximum: 257 }));

/** The permissions of the page at `address`, by /proc/self/maps; "" for a hole. */
function permissions(address: number): string {
  for (const [, from = "", end = "", what = ""] of readFileSync("/proc/self/maps", "utf8").matchAll(/^(\S+)-(\S+) (\S+)/gm)) {
    if (Number.parseInt(from, 16) <= address && address < Number.parseInt(end, 16)) return what;
  }
  return "";
}

/** Maps `own` into `window` and releases it again, while a view of it lives until this returns. */
function pass(registry: SharedMemoryRegistry, own: OwnedSharedMemory, window: Window): number {
  const shared = registry.acquire(own.descriptor);
  const memory = shared.slice(4096, 64);
  assert.equal(window.words[memory.windowAt >> 2], own.memory.words[1024]);
  registry.release(shared);
  return memory.windowAt;
}

/** Lets the garbage collector find dead views and tell of them. */
async function collect(): Promise<void> {
  collectGarbage();
  await delay(5);
}

test("memory of others is seen in the window, at the place that its views name", () => {
  const window = newRoom();
  const own = createSharedMemory("vhca-test", 3 * MIB);
  const shared = new SharedMemoryRegistry(window).acquire(own.descriptor);
  const { windowAt } = shared.chunk(0);
  assert.equal(windowAt, 65536);
  own.memory.words[1000] = 77;
  assert.equal(window.words[(windowAt >> 2) + 1000], 77);
  window.words[(windowAt >> 2) + 1001] = 78;
  assert.equal(own.memory.words[1001], 78);
  assert.equal(shared.slice(MIB + 4, 64).windowAt, windowAt + MIB + 4);
  assert.equal(own.memory.windowAt, OUTSIDE, "our own memory is for clients");
  own.close();
});

test("what the window has no room for is mapped elsewhere", () => {
  const window = newRoom();
  const registry = new SharedMemoryRegistry(window);
  const [small, large, next] = [12, 5, 4].map((size) => createSharedMemory("vhca-test", size * MIB));
  assert.equal(registry.acquire(small!.descriptor).chunk(0).windowAt, 65536);
  const outside = registry.acquire(large!.descriptor).chunk(0);
  assert.equal(outside.windowAt, OUTSIDE);
  outside.words[5] = 99;
  assert.equal(large!.memory.words[5], 99);
  assert.equal(registry.acquire(next!.descriptor).chunk(0).windowAt, 65536 + 12 * MIB, "there was room for less");
  for (const own of [small, large, next]) own!.close();
});

test("release: the memory is gone at once, its place is taken by nobody while a view lives, and there never is a hole", async () => {
  const window = newRoom();
  const registry = new SharedMemoryRegistry(window);
  const own = createSharedMemory("vhca-test", 9 * MIB);
  own.memory.words[0] = 7;
  let late: Int32Array | undefined;
  const begin = (): number => {
    const shared = registry.acquire(own.descriptor);
    const { words } = shared.chunk(0);
    assert.equal(words[0], 7);
    late = words;
    registry.release(shared);
    return words.length;
  };
  begin();
  await collect();
  assert.equal(late?.[0], 0, "a late view sees zeros");
  late[1] = 8;
  assert.deepEqual([window.words[65540 >> 2], own.memory.words[1]], [8, 0], "what it writes harms nobody");
  const mapping = Mapping.ofDescriptor(own.descriptor, 9 * MIB, true, window);
  assert.equal(mapping.memory(0, 4).windowAt, OUTSIDE, "its place is not free yet");
  late = undefined;
  await collect();
  assert.equal(window.words[65540 >> 2], 0, "it is clean again");
  const again = registry.acquire(own.descriptor);
  assert.equal(again.chunk(0).windowAt, 65536);
  own.close();
});

test("300 memories one after the other in the room of 16", async () => {
  const window = newRoom();
  const registry = new SharedMemoryRegistry(window);
  const own = createSharedMemory("vhca-test", MIB);
  own.memory.words[1024] = 0x1234;
  for (let i = 0; i < 300; i++) {
    assert.notEqual(pass(registry, own, window), OUTSIDE, `memory ${i}`);
    if (i % 16 === 15) await collect();
  }
  await collect();
  assert.equal(window.take(16 * MIB), 65536, "all of it is free");
  own.close();
});

test("read-only memory is read-only in the window, too, and its place is not when it has gone", () => {
  const window = newRoom();
  const own = createSharedMemory("vhca-test", 8192);
  const reopened = openSync(`/proc/self/fd/${own.descriptor}`, "r");
  const mapping = Mapping.ofDescriptor(reopened, 8192, false, window);
  closeSync(reopened);
  assert.equal(permissions(mapping.address), "r--s");
  assert.equal(permissions(mapping.address + 4096), "r--s");
  assert.equal(permissions(mapping.address + 8192), "rw-p");
  mapping.release();
  assert.equal(permissions(mapping.address), "rw-p");
  window.words[65536 >> 2] = 1;
  own.close();
});

test("what cannot be mapped leaves no hole and takes no room", () => {
  const window = newRoom();
  const plain = openSync("/dev/null", "r");
  assert.throws(() => Mapping.ofDescriptor(plain, 16 * MIB, true, window), { syscall: "mmap" });
  closeSync(plain);
  assert.equal(window.words[65536 >> 2], 0);
  assert.equal(window.take(16 * MIB), 65536);
});

test("where addresses are scarce there is no window, and the rest is left to others", () => {
  const program = `
    const { threadWindow } = await import(${JSON.stringify(import.meta.resolve("./window.ts"))});
    console.log(threadWindow()?.words.byteLength ?? 0, threadWindow() === threadWindow());`;
  const command = `ulimit -v ${8 * MIB} && exec "$0" --input-type=module -e "$1"`; // in KiB
  assert.equal(execFileSync("sh", ["-c", command, process.execPath, program], { encoding: "utf8" }), "0 true\n");
});

test("the window of a thread is one, and a memory of several GiB lies in it as in one piece", () => {
  const window = threadWindow();
  assert.ok(window !== undefined && threadWindow() === window);
  const own = createSharedMemory("vhca-test", 3 * CHUNK_BYTES);
  const registry = new SharedMemoryRegistry(window);
  const shared = registry.acquire(own.descriptor);
  const third = shared.chunk(2);
  assert.equal(third.windowAt, (65536 + 2 * CHUNK_BYTES) | 0);
  assert.ok(third.windowAt < 0);
  third.words[5] = 6;
  assert.equal(window.words[(third.windowAt >>> 2) + 5], 6);
  registry.release(shared);
  own.close();
});

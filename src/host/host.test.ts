import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PerformanceObserver } from "node:perf_hooks";
import { after, test } from "node:test";
import { systemClock } from "./clock.ts";
import { adoptEventfd, createEventfd, drainEventfd, signalEventfd } from "./eventfd.ts";
import { closeDescriptor, Fcntl, fcntl, write } from "./libc.ts";
import { allocateNative } from "./mapping.ts";
import { PollEvent, Poller, waitFor } from "./poller.ts";
import { Errno } from "./system-error.ts";
import { setTimerSlack, sleepNs, yieldThread } from "./thread.ts";
import { connectUnix, MAX_DESCRIPTORS, UnixListener, type UnixSocket } from "./unix-socket.ts";

const folder = mkdtempSync(join(tmpdir(), "vhca-host-"));
after(() => rmSync(folder, { recursive: true }));
const memory = allocateNative(65536);
const none = new Int32Array(0);
const openDescriptors = (): number => readdirSync("/proc/self/fd").length;

function pair(name: string): { listener: UnixListener; client: UnixSocket; server: UnixSocket; close(): void } {
  const listener = new UnixListener(join(folder, name));
  const client = connectUnix(listener.path);
  const server = listener.accept();
  assert.ok(server);
  const close = (): void => {
    for (const end of [client, server, listener]) end.close();
  };
  return { listener, client, server, close };
}

test("UnixSocket: bytes and descriptors arrive together, an empty socket says EAGAIN, a closed one 0", () => {
  const before = openDescriptors();
  const { listener, client, server } = pair("a");
  assert.deepEqual([server.peerPid(), client.peerPid()], [process.pid, process.pid]);
  assert.equal(server.receive(memory, 0, 100), -Errno.EAGAIN);
  const event = createEventfd();
  memory.bytes.write("hello", 0);
  assert.equal(client.send(memory, 0, 5, Int32Array.of(event, event), 2), 5);
  assert.equal(server.receive(memory, 1000, 2), 2);
  assert.equal(server.receivedCount, 2, "they come with the first byte");
  assert.ok(adoptEventfd(server.received[0] ?? -1));
  signalEventfd(server.received[0] ?? -1);
  assert.equal(drainEventfd(event), 1);
  closeDescriptor(server.received[0] ?? -1);
  closeDescriptor(server.received[1] ?? -1);
  assert.equal(server.receive(memory, 1002, 100), 3);
  assert.equal(server.receivedCount, 0);
  assert.equal(memory.bytes.toString("latin1", 1000, 1005), "hello");
  client.close();
  assert.equal(server.receive(memory, 0, 100), 0);
  assert.equal(server.send(memory, 0, 5, none, 0), -Errno.EPIPE);
  for (const fd of [event]) closeDescriptor(fd);
  server.close();
  listener.close();
  assert.equal(openDescriptors(), before);
});

test("UnixSocket: as many descriptors as the kernel takes, and a full socket says EAGAIN", () => {
  const before = openDescriptors();
  const { client, server, close } = pair("b");
  const event = createEventfd();
  assert.equal(client.send(memory, 0, 1, new Int32Array(MAX_DESCRIPTORS).fill(event), MAX_DESCRIPTORS), 1);
  assert.equal(server.receive(memory, 0, 1), 1);
  assert.equal(server.receivedCount, MAX_DESCRIPTORS);
  assert.equal(server.wasTruncated, false);
  for (const fd of server.received) closeDescriptor(fd);
  let sent = 0;
  for (let n = client.send(memory, 0, 65536, none, 0); n > 0; n = client.send(memory, 0, 65536, none, 0)) sent += n;
  assert.ok(sent >= 65536);
  assert.equal(client.send(memory, 0, 1, none, 0), -Errno.EAGAIN);
  closeDescriptor(event);
  close();
  assert.equal(openDescriptors(), before);
});

test("UnixListener: takes over a dead socket file, but neither a live one nor another kind of file", () => {
  const path = join(folder, "c");
  const first = new UnixListener(path);
  assert.throws(() => new UnixListener(path), { errno: Errno.EADDRINUSE, message: /another process listens/ });
  closeDescriptor(first.descriptor);
  assert.throws(() => connectUnix(path), { errno: Errno.ECONNREFUSED });
  const second = new UnixListener(path);
  connectUnix(path).close();
  second.close();
  assert.throws(() => connectUnix(path), { errno: Errno.ENOENT });
  writeFileSync(path, "precious");
  assert.throws(() => new UnixListener(path), { errno: Errno.EADDRINUSE, message: /not a socket/ });
  const link = join(folder, "link");
  symlinkSync(path, link);
  assert.throws(() => new UnixListener(link), { errno: Errno.EADDRINUSE });
  assert.throws(() => new UnixListener(join(folder, "x".repeat(120))), { errno: Errno.ENAMETOOLONG });
});

test("eventfd: only eventfds are adopted; signals add up until drained", () => {
  const before = openDescriptors();
  const event = createEventfd();
  assert.equal(drainEventfd(event), 0);
  signalEventfd(event);
  signalEventfd(event);
  assert.equal(drainEventfd(event), 2);
  const { client, close } = pair("d");
  assert.equal(adoptEventfd(client.descriptor), false);
  assert.equal(adoptEventfd(event), true);
  close();
  closeDescriptor(event);
  assert.throws(() => closeDescriptor(event), /invariant/);
  assert.equal(openDescriptors(), before);
});

test("eventfd: a signal does not wait, even if a peer has filled the eventfd and made it blocking again", () => {
  const event = createEventfd();
  const most = allocateNative(8);
  most.view.setBigUint64(0, 2n ** 64n - 2n, true);
  assert.equal(write(event, most.address, 8), 8);
  assert.equal(fcntl(event, Fcntl.SETFL, 0), 0);
  for (let i = 0; i < 3; i++) assert.equal(signalEventfd(event), true);
  assert.equal(drainEventfd(event), 2 ** 32 - 1, "as full as can be");
  signalEventfd(event);
  assert.equal(drainEventfd(event), 1);
  closeDescriptor(event);
  assert.equal(signalEventfd(event), false);
});

test("Poller: says which descriptor is ready, and waits no longer than told", () => {
  const poller = new Poller(4);
  const [quiet, loud] = [createEventfd(), createEventfd()];
  poller.add(quiet, PollEvent.IN);
  const place = poller.add(loud, PollEvent.IN);
  assert.equal(poller.wait(0), 0);
  const start = systemClock.nowNs();
  assert.equal(poller.wait(1_000_000), 0);
  assert.ok(systemClock.nowNs() - start >= 1_000_000);
  signalEventfd(loud);
  assert.equal(poller.wait(60e9), 1);
  assert.equal(poller.eventsOf(place), PollEvent.IN);
  assert.equal(poller.eventsOf(0), 0);
  assert.deepEqual([poller.hasEvents(0, 1), poller.hasEvents(1, poller.count), poller.hasEvents(0, 2)], [false, true, true]);
  assert.equal(waitFor(loud, PollEvent.IN, 60e9), true);
  assert.equal(waitFor(quiet, PollEvent.IN, 1000), false);
  poller.clear();
  for (let i = 0; i < 4; i++) poller.add(quiet, PollEvent.IN);
  assert.throws(() => poller.add(quiet, PollEvent.IN), /at most 4/);
  for (const fd of [quiet, loud]) closeDescriptor(fd);
});

test("clock and thread: whole nanoseconds that never go back, sleeps at least as long as asked", () => {
  setTimerSlack(1000);
  const start = systemClock.nowNs();
  assert.ok(Number.isSafeInteger(start));
  yieldThread();
  sleepNs(200_000);
  assert.ok(systemClock.nowNs() - start >= 200_000);
  setTimerSlack(50_000);
});

test("the calls of the engine's loop allocate nothing", async () => {
  const { server, close } = pair("e");
  const event = createEventfd();
  const poller = new Poller(4);
  const latest = new Float64Array(1);
  const turn = (): void => {
    server.receive(memory, 0, 16);
    signalEventfd(event);
    drainEventfd(event);
    poller.clear();
    poller.add(server.descriptor, PollEvent.IN);
    poller.wait(0);
    latest[0] = systemClock.nowNs();
  };
  for (let i = 0; i < 20_000; i++) turn();
  await new Promise((resolve) => setTimeout(resolve, 20));
  let collections = 0;
  const observer = new PerformanceObserver((list) => {
    collections += list.getEntries().length;
  });
  observer.observe({ entryTypes: ["gc"] });
  for (let i = 0; i < 300_000; i++) turn();
  await new Promise((resolve) => setTimeout(resolve, 20));
  observer.disconnect();
  // 16 bytes per turn would be 5 MB, hence several collections; one may be somebody else's
  assert.ok(collections <= 1, `${collections} collections`);
  assert.ok((latest[0] ?? 0) > 0);
  closeDescriptor(event);
  close();
});

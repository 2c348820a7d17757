import assert from "node:assert/strict";
import { test } from "node:test";
import { createEventfd, drainEventfd, signalEventfd } from "../host/eventfd.ts";
import { closeDescriptor } from "../host/libc.ts";
import { PollEvent, Poller } from "../host/poller.ts";
import type { PluggedHca } from "./plugged-hca.ts";
import { Ready, SocketLooks } from "./socket-looks.ts";

test("a sleep tells whose sockets have ended it: those of HCAs, of programs, both, or another descriptor", (t) => {
  const [bell, one, two, program] = [createEventfd(), createEventfd(), createEventfd(), createEventfd()];
  const all = [bell, one, two, program];
  t.after(() => all.forEach(closeDescriptor));
  const hcas = [one, two].map(
    (fd) => ({ server: { watch: (poller: Poller) => poller.add(fd, PollEvent.IN) } }) as unknown as PluggedHca,
  );
  const looks = new SocketLooks(hcas);
  const poller = new Poller();
  const readyAfter = (...signalled: number[]): number => {
    for (const fd of signalled) signalEventfd(fd);
    poller.clear();
    poller.add(bell, PollEvent.IN);
    looks.watch(poller);
    poller.add(program, PollEvent.IN);
    poller.wait(0);
    for (const fd of signalled) drainEventfd(fd);
    return looks.readyIn(poller);
  };
  assert.equal(readyAfter(), Ready.NONE);
  assert.equal(readyAfter(bell), Ready.NONE);
  assert.equal(readyAfter(one), Ready.HCAS);
  assert.equal(readyAfter(two), Ready.HCAS);
  assert.equal(readyAfter(program), Ready.PROGRAMS);
  assert.equal(readyAfter(bell, two, program), Ready.ALL);
});

test("sockets are looked at every 5 ms while guests work and no message comes, every 50 µs when they have rested", (t) => {
  const quiet = createEventfd();
  t.after(() => closeDescriptor(quiet));
  let looks = 0;
  const poll = (): number => {
    looks++;
    return 0;
  };
  const server = { watch: (poller: Poller) => poller.add(quiet, PollEvent.IN), poll };
  const sockets = new SocketLooks([{ server } as unknown as PluggedHca]);
  const looksIn = (fromNs: number, idleNs: number): number => {
    looks = 0;
    for (let nowNs = fromNs; nowNs < fromNs + 100_000_000; nowNs += 50_000) sockets.look(nowNs, false, idleNs);
    return looks;
  };
  assert.equal(looksIn(0, 0), 20);
  assert.equal(looksIn(100_000_000, 2_000_000), 2000);
});

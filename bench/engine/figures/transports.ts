// What a Node program would use instead: a message there and one back, halved.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type NetConnectOpts, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { type BenchContext, type Group, scaled } from "../context.ts";
import type { Figure } from "../figure.ts";
import { quantile, sorted } from "../statistics.ts";

const ROUND_TRIPS = 5000;
const WARM_UP = 2000;
const MESSAGE_BYTES = 8;
const NS_PER_MS = 1e6;
const PEER = fileURLToPath(new URL("../echo-peer.ts", import.meta.url));

/** Sends a message; the answer is reported to the function given before. */
interface Transport {
  onAnswer: (answer: () => void) => void;
  send: () => void;
}

/** One-way times in ns, half of each round trip. */
function measureTransport(transport: Transport, count: number): Promise<Float64Array> {
  return new Promise((resolve) => {
    const samples = new Float64Array(count);
    let index = -WARM_UP;
    let before = performance.now();
    transport.onAnswer(() => {
      const now = performance.now();
      if (index >= 0) samples[index] = ((now - before) * NS_PER_MS) / 2;
      index++;
      if (index === count) {
        resolve(samples);
        return;
      }
      before = performance.now();
      transport.send();
    });
    transport.send();
  });
}

function socketTransport(socket: Socket): Transport {
  const message = Buffer.alloc(MESSAGE_BYTES, 1);
  socket.setNoDelay(true);
  return {
    onAnswer: (answer) => void socket.on("data", answer),
    send: () => void socket.write(message),
  };
}

async function withSocket(options: NetConnectOpts, count: number): Promise<Float64Array> {
  const socket = connect(options);
  await once(socket, "connect");
  try {
    return await measureTransport(socketTransport(socket), count);
  } finally {
    socket.destroy();
  }
}

/** A process that sends back what it gets. */
async function withPeer(path: string, run: (port: number) => Promise<Float64Array[]>): Promise<Float64Array[]> {
  const peer: ChildProcess = fork(PEER, [path], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  try {
    const [port] = (await once(peer, "message")) as [number];
    return await run(port);
  } finally {
    peer.kill();
  }
}

async function measureWorker(count: number): Promise<Float64Array> {
  const code = 'const { parentPort: p } = require("node:worker_threads"); p.on("message", (m) => p.postMessage(m));';
  const worker = new Worker(code, { eval: true });
  try {
    const transport = { onAnswer: (answer: () => void) => void worker.on("message", answer), send: () => worker.postMessage(1) };
    return await measureTransport(transport, count);
  } finally {
    await worker.terminate();
  }
}

async function measureSockets(context: BenchContext, count: number): Promise<Float64Array[]> {
  const folder = mkdtempSync(join(tmpdir(), "vhca-bench-"));
  const path = join(folder, "echo.sock");
  try {
    return await withPeer(path, async (port) => {
      context.show("UNIX socket");
      const unix = await withSocket({ path }, count);
      context.show("TCP loopback");
      return [unix, await withSocket({ port, host: "127.0.0.1" }, count)];
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const transports: Group = {
  name: "transports",
  summary: "UNIX socket, TCP loopback and worker messages, one way",
  async measure(context) {
    const count = scaled(context, ROUND_TRIPS);
    const sockets = await measureSockets(context, count);
    context.show("worker messages");
    const all = [...sockets, await measureWorker(count)];
    const names = ["UNIX socket", "TCP loopback", "worker postMessage"];
    return all.flatMap((samples, i): Figure[] => {
      const ascending = sorted([samples]);
      const name = `${names[i]}, 8 B one way`;
      return [
        { name: `${name}, p50`, value: quantile(ascending, 0.5), unit: "ns" },
        { name: `${name}, p99`, value: quantile(ascending, 0.99), unit: "ns" },
      ];
    });
  },
};

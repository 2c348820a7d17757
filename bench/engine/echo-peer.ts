// A process that sends back whatever comes over TCP and over the UNIX socket whose path is its argument.

import type { AddressInfo } from "node:net";
import { createServer, type Server, type Socket } from "node:net";

const [path = ""] = process.argv.slice(2);

function echo(socket: Socket): void {
  socket.setNoDelay(true);
  socket.on("data", (data) => socket.write(data));
  socket.on("error", () => socket.destroy());
}

const listening = (server: Server, where: { path: string } | { port: number; host: string }): Promise<Server> =>
  new Promise((resolve) => server.listen(where, () => resolve(server)));

await listening(createServer(echo), { path });
const tcp = await listening(createServer(echo), { port: 0, host: "127.0.0.1" });
process.on("disconnect", () => process.exit(0));
process.send?.((tcp.address() as AddressInfo).port);

// A Node program and a C program in a VM: this answers an unmodified `rping -c`. Its pings go as rping has it: the client says where its
// data are, we read them out of its memory and say so; it says where it wants them, we write them there and say so.
//
//   npx vhca run --nodes 1 -- 'sleep 15; rping -c -v -C 5 -a 10.87.0.100'     in one terminal
//   npx vhca hca add node --beside n1                                         in another: prints a socket
//   node examples/verbs/rping-server.ts …/node.sock

import { ALL_ACCESS, type Connection, IpoibAddress, listen, openDevice, type Sge } from "../../src/verbs/index.ts";

const PORT = 7174;
const IP = "10.87.0.100";
/** What rping sends: address of a buffer, its key, its size, all in network byte order. */
const MESSAGE_BYTES = 16;
const DATA_AT = 4096;

const [path] = process.argv.slice(2);
if (path === undefined) {
  console.error("usage: node examples/verbs/rping-server.ts SOCKET");
  process.exit(2);
}
const context = openDevice(path);
const { lid } = await context.portActive();
const pd = context.allocPd();
const cq = context.createCq(64);
const mr = pd.regMr(context.allocMemory(3 * DATA_AT), ALL_ACCESS);
const piece = (at: number, length: number): Sge[] => [{ addr: mr.addr + at, length, lkey: mr.lkey }];

/** The client's next message. */
async function nextMessage({ qp }: Connection): Promise<{ remoteAddr: bigint; rkey: number; size: number }> {
  await qp.recv({ sgList: piece(0, MESSAGE_BYTES) });
  const { bytes } = mr;
  return { remoteAddr: bytes.readBigUInt64BE(0), rkey: bytes.readUInt32BE(8), size: bytes.readUInt32BE(12) };
}

/** "Go ahead": the client does not look at what is in it. */
const goAhead = ({ qp }: Connection): Promise<unknown> => qp.send({ opcode: "SEND", sgList: piece(64, MESSAGE_BYTES) });

await IpoibAddress.join(context, IP);
const listener = listen(context, { port: PORT, qp: { pd, sendCq: cq, recvCq: cq } });
process.on("uncaughtException", (error) => {
  console.log(error.message);
  process.exit(1);
});
console.log(`LID ${lid} answers rping at ${IP}, port ${PORT}`);
for await (const request of listener) {
  console.log(`connection from ${request.ip?.source ?? "nobody we know"}`);
  const connection = await request.accept();
  for (;;) {
    // when the client hangs up, what was posted is flushed
    const source = await nextMessage(connection).catch(() => undefined);
    if (source === undefined) break;
    await connection.qp.send({ opcode: "RDMA_READ", sgList: piece(DATA_AT, source.size), ...source });
    const ping = mr.bytes.toString("latin1", DATA_AT, DATA_AT + source.size);
    console.log(`read ${source.size} bytes: ${ping.slice(0, 20)}…`);
    await goAhead(connection);
    const sink = await nextMessage(connection);
    await connection.qp.send({ opcode: "RDMA_WRITE", sgList: piece(DATA_AT, sink.size), ...sink });
    await goAhead(connection);
  }
  await connection.close();
  console.log("it has hung up");
}

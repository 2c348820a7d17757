// One-sided writing: the target's program does nothing but hand out an address and a key; its memory changes under its eyes.
// How to run it: see rc-pingpong.ts.

import { ALL_ACCESS, type Context, connectQp } from "../../src/verbs/index.ts";
import { openTwo } from "./devices.ts";

const SIZE = 1 << 20;

function newSide(context: Context) {
  const pd = context.allocPd();
  const cq = context.createCq(16);
  const mr = pd.regMr(context.allocMemory(SIZE), ALL_ACCESS);
  return { pd, cq, mr, qp: pd.createQp({ qpType: "RC", sendCq: cq, recvCq: cq }), lid: context.queryPort().lid };
}

const [writer, target] = (await openTwo()).map(newSide) as [ReturnType<typeof newSide>, ReturnType<typeof newSide>];
connectQp(writer.qp, { lid: target.lid, qpNum: target.qp.qpNum });
connectQp(target.qp, { lid: writer.lid, qpNum: writer.qp.qpNum });

// This pair is all the writer has to know.
const ticket = { remoteAddr: target.mr.addr, rkey: target.mr.rkey };

writer.mr.bytes.write("written from afar, and nobody was asked");
const start = performance.now();
await writer.qp.send({ opcode: "RDMA_WRITE", sgList: [{ addr: writer.mr.addr, length: SIZE, lkey: writer.mr.lkey }], ...ticket });
const us = (performance.now() - start) * 1000;
console.log(`${SIZE} bytes in ${us.toFixed(0)} µs; the target reads: "${target.mr.bytes.toString("utf8", 0, 39)}"`);

// The key opens its region and not a byte more.
const beyond = { ...ticket, remoteAddr: ticket.remoteAddr + SIZE };
const byte = [{ addr: writer.mr.addr, length: 1, lkey: writer.mr.lkey }];
await writer.qp
  .send({ opcode: "RDMA_WRITE", sgList: byte, ...beyond })
  .catch((error) => console.log(`one byte further: ${error.message}`));
process.exit();

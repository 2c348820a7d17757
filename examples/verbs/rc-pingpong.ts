// Two queue pairs throw a message to and fro: the "hello, world" of InfiniBand.
//
//   node examples/verbs/rc-pingpong.ts                     both HCAs in this process
//   npx vhca up --hca n1,n2                                or those of a device domain, as VMs use them:
//   node examples/verbs/rc-pingpong.ts …/n1.sock …/n2.sock

import { AccessFlag, type Context, connectQp } from "../../src/verbs/index.ts";
import { openTwo } from "./devices.ts";

const ROUNDS = 1000;
const SIZE = 4096;

function newSide(context: Context) {
  const pd = context.allocPd();
  const cq = context.createCq(16);
  const mr = pd.regMr(context.allocMemory(SIZE), AccessFlag.LOCAL_WRITE);
  const qp = pd.createQp({ qpType: "RC", sendCq: cq, recvCq: cq });
  const whole = [{ addr: mr.addr, length: SIZE, lkey: mr.lkey }];
  return { context, qp, mr, whole, lid: context.queryPort().lid };
}

const [near, far] = (await openTwo()).map(newSide) as [ReturnType<typeof newSide>, ReturnType<typeof newSide>];
connectQp(near.qp, { lid: far.lid, qpNum: far.qp.qpNum });
connectQp(far.qp, { lid: near.lid, qpNum: near.qp.qpNum });

async function answer(): Promise<void> {
  for (let i = 0; i < ROUNDS; i++) {
    await far.qp.recv({ sgList: far.whole });
    await far.qp.send({ opcode: "SEND", sgList: far.whole });
  }
}

const answering = answer();
near.mr.bytes.fill("ping-pong ");
const start = performance.now();
for (let i = 0; i < ROUNDS; i++) {
  const back = near.qp.recv({ sgList: near.whole });
  await near.qp.send({ opcode: "SEND", sgList: near.whole });
  await back;
}
await answering;
const ms = performance.now() - start;

console.log(`LID ${near.lid}, QP 0x${near.qp.qpNum.toString(16)} <-> LID ${far.lid}, QP 0x${far.qp.qpNum.toString(16)}`);
console.log(
  `${ROUNDS} round trips of ${SIZE} bytes in ${ms.toFixed(0)} ms; the other side holds "${far.mr.bytes.toString("utf8", 0, 9)}"`,
);
process.exit();

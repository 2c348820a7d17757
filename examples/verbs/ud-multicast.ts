// One datagram, many receivers: queue pairs of both HCAs join a multicast group at the subnet administration; one of them sends once.
// How to run it: see rc-pingpong.ts.

import { AccessFlag, activateUd, type Context } from "../../src/verbs/index.ts";
import { openTwo } from "./devices.ts";

const QKEY = 0x0badcafe;
/** Every datagram arrives behind room for a GRH. */
const GRH_BYTES = 40;
const ROOM = 1024;
const MGID = Uint8Array.from([0xff, 0x12, 0x40, 0x1b, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0xe1, 0x76, 0xca, 0xfe]);

async function newMember(context: Context, name: string) {
  const membership = await context.joinMulticast(MGID, { qkey: QKEY });
  const pd = context.allocPd();
  const cq = context.createCq(16);
  const mr = pd.regMr(context.allocMemory(ROOM), AccessFlag.LOCAL_WRITE);
  const qp = pd.createQp({ qpType: "UD", sendCq: cq, recvCq: cq });
  activateUd(qp, QKEY);
  qp.attachMcast(MGID);
  const received = qp.recv({ sgList: [{ addr: mr.addr, length: ROOM, lkey: mr.lkey }] });
  return { name, context, membership, pd, mr, qp, received };
}

const [first, second] = await openTwo();
const members = [];
for (const [context, name] of [
  [first, "n1, first queue pair"],
  [first, "n1, second queue pair"],
  [second, "n2"],
] as const) {
  members.push(await newMember(context, name));
}

// The sender need not be a member: it only knows the group's address.
const pd = second.allocPd();
const cq = second.createCq(16);
const sender = pd.createQp({ qpType: "UD", sendCq: cq, recvCq: cq });
activateUd(sender, QKEY);
const mr = pd.regMr(second.allocMemory(ROOM), 0);
const length = mr.bytes.write("to everybody in the group");
const { address, mlid } = (members[0] as (typeof members)[number]).membership;
const ah = pd.createAh(address);
const group = { ah, remoteQpn: 0xffffff, remoteQkey: QKEY };
console.log(`group at LID 0x${mlid.toString(16)}, ${members.length} queue pairs`);
await sender.send({ opcode: "SEND", sgList: [{ addr: mr.addr, length, lkey: mr.lkey }], ...group });

for (const member of members) {
  const wc = await member.received;
  const text = member.mr.bytes.toString("utf8", GRH_BYTES, wc.byteLen);
  console.log(`${member.name.padEnd(22)} from LID ${wc.slid}, QP 0x${wc.srcQp.toString(16)}: "${text}"`);
  await member.membership.leave();
}
process.exit();

// Firmware commands of one guest, right ones and ones with some fields changed, in any order, against a model: which objects the
// accepted commands have made, in which state they are, and what their contexts hold. A refused command changes nothing; after a
// reset nothing is left.

import assert from "node:assert/strict";
import { type LayoutInfo, writeAll } from "../../src/base/layout.ts";
import type { Random } from "../../src/base/random.ts";
import { Device } from "../../src/driver/device.ts";
import { Command, CommandStatus, MapEntry, QP_CONTEXT_AT, QpTransition, ResizeCq } from "../../src/spec/hca/commands.ts";
import {
  AddressPath,
  ALTERNATE_PATH_AT,
  CqContext,
  EqContext,
  MGM_BYTES,
  Mpt,
  PRIMARY_PATH_AT,
  QpContext,
  SrqContext,
} from "../../src/spec/hca/contexts.ts";
import { Bar0 } from "../../src/spec/hca/registers.ts";
import { QpState, Service } from "../../src/spec/ib/numbers.ts";
import { Buffer64, type Guest, TestBed } from "../in-process/pair.ts";
import { HcrIssuer } from "./hcr.ts";
import { type Budget, fuzz } from "./kit.ts";
import {
  COMPARED,
  CONSTANT,
  columnOf,
  fieldOf,
  isMaskLegal,
  type QpModel,
  RUNNING_VALUES,
  TAKEN,
  TRANSITIONS,
} from "./qp-model.ts";
import { number32, number64, randomBytes } from "./values.ts";

const MEMORY_BYTES = 1 << 20;
const COMMANDS = 120;
/** Numbers the driver of the test bed does not use. */
const FIRST = { mpt: 0xf00, cq: 0xf00, srq: 0x3e0, qp: 0xf00, eq: 8 } as const;
const NUMBERS = 6;
/** Number of an entry with another reuse count: the same slot, another object. */
const NEXT_USE = { cq: 1 << 12, qp: 1 << 12, srq: 1 << 10 } as const;
const SLOTS_PER_TABLE = { cq: 1 << 12, qp: 1 << 12, srq: 1 << 10 } as const;
/** ICM pages beyond the tables of the driver. */
const ICM_FIRST = 1 << 20;
const ICM_PAGES = 24;
const MGM_ENTRIES = 256;
const MGM_BUCKETS = 128;

const { INIT, ERR } = QpState;
type Layout = { readonly info: LayoutInfo };

class World {
  readonly random: Random;
  readonly budget: Budget;
  readonly bed = new TestBed(1, { memoryBytes: MEMORY_BYTES });
  readonly guest: Guest = this.bed[0];
  readonly hcr: HcrIssuer;
  readonly buffer: Buffer64;
  readonly mpts = new Set<number>();
  readonly eqs = new Set<number>();
  readonly cqs = new Set<number>();
  readonly srqs = new Map<number, { limit: number; pd: number; wqes: number }>();
  readonly qps = new Map<number, QpModel>();
  readonly icm = new Set<number>();
  readonly groups = new Map<number, Buffer>();
  readonly #before: { mpts: number; cqs: number; icm: number };
  /** Fields of the last context that were changed from a right one. */
  #changed = 0;

  constructor(random: Random, budget: Budget) {
    this.random = random;
    this.budget = budget;
    this.guest.device.commands.useEvents(false);
    this.hcr = new HcrIssuer(this.guest);
    this.buffer = new Buffer64(this.guest, 8192, { virtualAddress: 0n });
    const { regions, cqs, icm } = this.guest.node.hca.adapter;
    this.#before = { mpts: regions.count, cqs: cqs.count, icm: icm.mappedPages };
  }

  // ---- one command ----------------------------------------------------------------------------------------------------

  act(): void {
    const kinds: (() => void)[] = [
      this.mpt,
      this.mpt,
      this.cq,
      this.cq,
      this.srq,
      this.eq,
      this.createQp,
      this.createQp,
      this.transition,
      this.transition,
      this.transition,
      this.endQp,
      this.mapIcm,
      this.group,
      this.resizeCq,
      this.anything,
    ];
    this.random.pick(kinds).call(this);
    this.checkCounts();
  }

  /** A right context with, now and then, a few fields of any value. */
  #context(layout: Layout, values: Record<string, number | bigint>, at = 0): (view: DataView, mailbox: number) => void {
    const { random } = this;
    const changed: Record<string, number | bigint> = {};
    for (let n = random.chance(0.5) ? 0 : 1 + random.below(3); n > 0; n--) {
      const [name, field] = random.pick([...layout.info.fields]);
      if (field.kind === "half64") changed[name] = number64(random);
      else if (field.kind === "number") changed[name] = number32(random, field.width);
    }
    this.#changed = Object.keys(changed).length;
    return (view, mailbox) => writeAll(layout, view, mailbox + at, { ...values, ...changed });
  }

  /** Issues a command and compares the acceptance with the model's: right ones are taken, wrong ones change nothing. */
  #expect(opcode: number, isRight: boolean, options: Parameters<HcrIssuer["issue"]>[1]): boolean {
    const before = isRight && this.#changed === 0 ? undefined : this.#snapshot();
    const status = this.hcr.issue(opcode, options);
    this.budget.note(`${opcode} ${status}`);
    const isTaken = status === CommandStatus.OK;
    if (!isRight) assert.equal(isTaken, false, `command ${opcode.toString(16)} must be refused`);
    else if (this.#changed === 0) assert.equal(status, CommandStatus.OK, `command ${opcode.toString(16)} must be accepted`);
    if (!isTaken && before !== undefined) assert.deepEqual(this.#snapshot(), before, "a refused command has changed something");
    this.#changed = 0;
    return isTaken;
  }

  #number(kind: keyof typeof NEXT_USE): number {
    const { random } = this;
    return FIRST[kind] + random.below(NUMBERS) + (random.chance(0.15) ? NEXT_USE[kind] * (1 + random.below(3)) : 0);
  }

  /** True if nothing of the model is in the slot of `number`. */
  #isFree(kind: keyof typeof NEXT_USE, number: number): boolean {
    const models = { cq: this.cqs, srq: this.srqs, qp: this.qps };
    return ![...models[kind].keys()].some(
      (other) => (other as number) % SLOTS_PER_TABLE[kind] === number % SLOTS_PER_TABLE[kind],
    );
  }

  // ---- objects --------------------------------------------------------------------------------------------------------

  mpt(): void {
    const index = FIRST.mpt + this.random.below(NUMBERS);
    if (this.random.chance(0.4)) {
      if (this.#expect(Command.HW2SW_MPT, this.mpts.has(index), { modifier: index, outputBytes: Mpt.byteLength }))
        this.mpts.delete(index);
      return;
    }
    const key = index + 4096 * this.random.below(1 << 20);
    const input = this.#context(Mpt, { localRead: 1, region: 1, key, pd: 5, length: 4096n, mttAddress: 0n });
    if (this.#expect(Command.SW2HW_MPT, !this.mpts.has(index), { modifier: index, input })) this.mpts.add(index);
  }

  eq(): void {
    const number = FIRST.eq + this.random.below(NUMBERS);
    if (this.random.chance(0.4)) {
      const options = { modifier: number, outputBytes: EqContext.byteLength };
      if (this.#expect(Command.HW2SW_EQ, this.eqs.has(number), options)) this.eqs.delete(number);
      return;
    }
    const input = this.#context(EqContext, { state: 9, logSize: 6, intr: 0x80, pd: 4, lkey: this.buffer.region.lkey });
    if (this.#expect(Command.SW2HW_EQ, !this.eqs.has(number), { modifier: number, input })) this.eqs.add(number);
  }

  cq(): void {
    const number = this.#number("cq");
    if (this.random.chance(0.35)) {
      const isUsed = [...this.qps.values()].some(({ sendCq, receiveCq }) => sendCq === number || receiveCq === number);
      const options = { modifier: number, outputBytes: CqContext.byteLength };
      if (this.#expect(Command.HW2SW_CQ, this.cqs.has(number) && !isUsed, options)) this.cqs.delete(number);
      return;
    }
    const { device, pd } = this.guest;
    const input = this.#context(CqContext, {
      logSize: 4,
      usrPage: device.uar,
      completionEqn: 1,
      pd,
      lkey: this.buffer.region.lkey,
    });
    if (this.#expect(Command.SW2HW_CQ, this.#isFree("cq", number), { modifier: number, input })) this.cqs.add(number);
  }

  resizeCq(): void {
    const number = this.#number("cq");
    const input = this.#context(ResizeCq, { logSize: 5, lkey: this.buffer.region.lkey });
    this.#expect(Command.RESIZE_CQ, this.cqs.has(number), { modifier: number, input });
  }

  srq(): void {
    const number = this.#number("srq");
    const kind = this.random.below(4);
    const known = this.srqs.get(number);
    if (kind === 0) {
      const isUsed = [...this.qps.values()].some(({ srq }) => srq === number);
      const options = { modifier: number, outputBytes: SrqContext.byteLength };
      if (this.#expect(Command.HW2SW_SRQ, known !== undefined && !isUsed, options)) this.srqs.delete(number);
    } else if (kind === 1) {
      const limit = this.random.chance(0.6) ? this.random.below(18) : number32(this.random, 16);
      const isTaken = this.#expect(Command.ARM_SRQ, known !== undefined && limit <= known.wqes, {
        modifier: number,
        inValue: [0, limit],
      });
      if (isTaken && known !== undefined) known.limit = limit;
    } else {
      const { device, pd } = this.guest;
      const input = this.#context(SrqContext, {
        logSize: 4,
        usrPage: device.uar,
        lkey: this.buffer.region.lkey,
        pd,
        logStride: 2,
      });
      if (!this.#expect(Command.SW2HW_SRQ, this.#isFree("srq", number), { modifier: number, input })) return;
      const query = { modifier: number, outputBytes: SrqContext.byteLength };
      assert.equal(this.hcr.issue(Command.QUERY_SRQ, query), CommandStatus.OK);
      assert.equal(SrqContext.srqn.get(this.hcr.output, 0), number);
      const wqes = 2 ** SrqContext.logSize.get(this.hcr.output, 0);
      this.srqs.set(number, { limit: 0, pd: SrqContext.pd.get(this.hcr.output, 0), wqes });
    }
  }

  // ---- queue pairs ----------------------------------------------------------------------------------------------------

  createQp(): void {
    const { random } = this;
    const number = this.#number("qp");
    const sendCq = this.#anyCq();
    const receiveCq = this.#anyCq();
    const srq = random.chance(0.3) ? this.#number("srq") : undefined;
    const service = random.pick([Service.RC, Service.UC, Service.UD, Service.RD, Service.MLX]);
    const exists = this.cqs.has(sendCq) && this.cqs.has(receiveCq) && (srq === undefined || this.srqs.has(srq));
    const isService = service !== Service.RD && service !== Service.MLX;
    const fill = this.#context(QpContext, { ...this.#qpValues(service), sendCqn: sendCq, receiveCqn: receiveCq }, QP_CONTEXT_AT);
    const input = (view: DataView, at: number): void => {
      AddressPath.port.set(view, at + QP_CONTEXT_AT + PRIMARY_PATH_AT, 1);
      fill(view, at);
      // What the model counts users by stays as the model has it.
      writeAll(QpContext, view, at + QP_CONTEXT_AT, { sendCqn: sendCq, receiveCqn: receiveCq, service });
      writeAll(QpContext, view, at + QP_CONTEXT_AT, { srqAttached: srq === undefined ? 0 : 1, srqn: srq ?? 0 });
    };
    const isRight = this.#isFree("qp", number) && exists && isService;
    if (!this.#expect(Command.RST2INIT_QP, isRight, { modifier: number, input })) return;
    this.qps.set(number, { state: INIT, service, sendCq, receiveCq, srq, fields: this.#query(number).fields });
  }

  #anyCq(): number {
    return this.cqs.size > 0 && this.random.chance(0.9) ? this.random.pick([...this.cqs]) : this.#number("cq");
  }

  #qpValues(service: number): Record<string, number> {
    const { device, pd } = this.guest;
    const sizes = { logRqSize: 3, logRqStride: 2, logSqSize: 3, logSqStride: 2, sqRecord: 100, rqRecord: 102 };
    return { ...sizes, service, pd, usrPage: device.uar, wqeLkey: this.buffer.region.lkey, sqBase: 4096 };
  }

  transition(): void {
    const { random } = this;
    const number = this.qps.size > 0 && random.chance(0.9) ? random.pick([...this.qps.keys()]) : this.#number("qp");
    const qp = this.qps.get(number);
    const usable = TRANSITIONS.filter(({ from }) => qp !== undefined && from.includes(qp.state));
    const transition = random.pick(usable.length > 0 && random.chance(0.8) ? usable : TRANSITIONS);
    const { opcode, from, to } = transition;
    const service = qp?.service ?? Service.RC;
    const column = columnOf(service);
    const legal = transition.required[column] | (random.u32() & transition.optional[column]);
    const mask = random.chance(0.8) ? legal : number32(random, 17);
    const given = new Map<string, number>();
    const fill = this.#context(QpContext, { ...this.#qpValues(Service.RC), ...RUNNING_VALUES }, QP_CONTEXT_AT);
    const input = (view: DataView, at: number): void => {
      QpTransition.optionalMask.set(view, at, mask);
      AddressPath.port.set(view, at + QP_CONTEXT_AT + PRIMARY_PATH_AT, 1);
      AddressPath.port.set(view, at + QP_CONTEXT_AT + ALTERNATE_PATH_AT, 1);
      fill(view, at);
      for (const name of COMPARED) given.set(name, fieldOf(name).get(view, at + QP_CONTEXT_AT));
    };
    const isRight = qp !== undefined && from.includes(qp.state) && isMaskLegal(transition, service, mask);
    const isTaken = this.#expect(opcode, isRight, { modifier: number, input });
    if (!isTaken || qp === undefined) return;
    qp.state = to;
    for (const [name, bit] of TAKEN.get(opcode) ?? []) {
      if (bit === 0 || (mask & bit) !== 0) qp.fields.set(name, given.get(name) ?? 0);
    }
    this.#checkQp(number, qp, new Set((TAKEN.get(opcode) ?? []).map(([name]) => name as string)), given);
  }

  /** The device's context: what the transition takes is as given, what it may take is as given or as it was. */
  #checkQp(number: number, qp: QpModel, decided: ReadonlySet<string>, given: ReadonlyMap<string, number>): void {
    const { state, fields } = this.#query(number);
    assert.equal(state, qp.state, `QP ${number}: state`);
    for (const [name, value] of fields) {
      const known = qp.fields.get(name);
      const isDecided = decided.has(name) || CONSTANT.has(name);
      assert.ok(value === known || (!isDecided && value === given.get(name)), `QP ${number}: ${name} is ${value}, not ${known}`);
      qp.fields.set(name, value);
    }
  }

  endQp(): void {
    const number = this.#number("qp");
    const qp = this.qps.get(number);
    if (this.random.chance(0.5)) {
      if (this.#expect(Command.ANY2ERR_QP, qp !== undefined, { modifier: number }) && qp !== undefined) qp.state = ERR;
      return;
    }
    // Any state, RESET too: the driver does not know of every error.
    assert.equal(this.hcr.issue(Command.ANY2RST_QP, { modifier: number }), CommandStatus.OK);
    this.qps.delete(number);
    assert.notEqual(this.hcr.issue(Command.QUERY_QP, { modifier: number }), CommandStatus.OK);
  }

  #query(number: number): { state: number; fields: Map<string, number> } {
    const outputBytes = QP_CONTEXT_AT + QpContext.byteLength;
    assert.equal(this.hcr.issue(Command.QUERY_QP, { modifier: number, outputBytes }), CommandStatus.OK, "the QP exists");
    const { output } = this.hcr;
    const fields = new Map(COMPARED.map((name) => [name as string, fieldOf(name).get(output, QP_CONTEXT_AT)]));
    return { state: QpContext.state.get(output, QP_CONTEXT_AT), fields };
  }

  // ---- ICM and groups -------------------------------------------------------------------------------------------------

  mapIcm(): void {
    const { random } = this;
    const first = ICM_FIRST + random.below(ICM_PAGES);
    if (random.chance(0.3)) {
      const count = 1 + random.below(8);
      const address = first * 4096;
      const inValue = [Math.floor(address / 2 ** 32), address % 2 ** 32] as const;
      assert.equal(this.hcr.issue(Command.UNMAP_ICM, { modifier: count, inValue }), CommandStatus.OK);
      for (let i = 0; i < count; i++) this.icm.delete(first + i);
      return;
    }
    const entries = Array.from({ length: 1 + random.below(4) }, () => ({
      page: random.chance(0.1) ? (1 << 22) - 1 + random.below(3) : ICM_FIRST + random.below(ICM_PAGES),
      log: random.chance(0.1) ? 21 + random.below(43) : random.below(3),
    }));
    const isRight = entries.every(({ page, log }) => log <= 20 && page + 2 ** log <= 1 << 22);
    const input = (view: DataView, at: number): void => {
      for (const [i, { page, log }] of entries.entries()) {
        MapEntry.icmAddress.setBig(view, at + 16 * i, BigInt(page) * 4096n);
        MapEntry.dmaAddress.setBig(view, at + 16 * i, 0x10_0000n + BigInt(log));
      }
    };
    if (!this.#expect(Command.MAP_ICM, isRight, { modifier: entries.length, input })) return;
    for (const { page, log } of entries) for (let i = 0; i < 2 ** log; i++) this.icm.add(page + i);
  }

  group(): void {
    const { random } = this;
    const index = random.chance(0.1) ? MGM_ENTRIES - 2 + random.below(6) : random.below(6);
    const isThere = index < MGM_ENTRIES;
    if (random.chance(0.4)) {
      const bytes = randomBytes(random, MGM_BYTES);
      const input = (view: DataView, at: number): void => new Uint8Array(view.buffer, view.byteOffset).set(bytes, at);
      if (this.#expect(Command.WRITE_MGM, isThere, { modifier: index, input })) this.groups.set(index, bytes);
    } else if (random.chance(0.2)) {
      assert.equal(this.hcr.issue(Command.MGID_HASH, { outValue: [0, 0] }), CommandStatus.OK);
      assert.ok(this.hcr.result < MGM_BUCKETS, "a hash outside the buckets");
    } else if (this.#expect(Command.READ_MGM, isThere, { modifier: index, outputBytes: MGM_BYTES })) {
      const { output } = this.hcr;
      const read = Buffer.from(output.buffer, output.byteOffset, MGM_BYTES);
      assert.deepEqual(read, this.groups.get(index) ?? Buffer.alloc(MGM_BYTES), `entry ${index} of the multicast table`);
    }
  }

  /** Any opcode that ends nothing, with mailboxes that are nowhere: it may only be refused, or do nothing. */
  anything(): void {
    const { random } = this;
    const known: readonly number[] = Object.values(Command).filter((opcode) => !ENDING.includes(opcode));
    const opcode = random.chance(0.7) ? random.pick(known) : 0x100 + random.below(0xe00);
    const before = this.#snapshot();
    const nowhere = [random.u32() | 0x800, random.u32()] as const;
    const status = this.hcr.issue(opcode, { modifier: 0xffffff, opcodeModifier: 2, inValue: nowhere, outValue: nowhere });
    this.budget.note(`${opcode} ${status}`);
    assert.deepEqual(this.#snapshot(), before, `command ${opcode.toString(16)} without mailboxes has changed something`);
  }

  // ---- the whole --------------------------------------------------------------------------------------------------------

  checkCounts(): void {
    const { qps, cqs, srqs, regions, icm } = this.guest.node.hca.adapter;
    const before = this.#before;
    const counts = [qps.count, cqs.count - before.cqs, srqs.count, regions.count - before.mpts, icm.mappedPages - before.icm];
    assert.deepEqual(counts, [this.qps.size, this.cqs.size, this.srqs.size, this.mpts.size, this.icm.size], "objects there are");
  }

  /** All that queries say. */
  #snapshot(): unknown {
    const qps = [...this.qps.keys()].map((number) => this.#query(number));
    const srqs = [...this.srqs].map(([number, { limit, pd }]) => {
      const query = { modifier: number, outputBytes: SrqContext.byteLength };
      assert.equal(this.hcr.issue(Command.QUERY_SRQ, query), CommandStatus.OK, "the SRQ exists");
      const { output } = this.hcr;
      assert.deepEqual([SrqContext.limitWatermark.get(output, 0), SrqContext.pd.get(output, 0)], [limit, pd]);
      return [number, limit];
    });
    const { qps: q, cqs, srqs: s, regions, icm } = this.guest.node.hca.adapter;
    const objects = [
      ...this.#queries(Command.QUERY_CQ, this.cqs, CqContext.byteLength),
      ...this.#queries(Command.QUERY_EQ, this.eqs, EqContext.byteLength),
      ...this.#queries(Command.QUERY_MPT, this.mpts, Mpt.byteLength),
    ];
    return { qps, srqs, objects, counts: [q.count, cqs.count, s.count, regions.count, icm.mappedPages] };
  }

  /** The contexts of objects that must exist. */
  #queries(opcode: number, numbers: Iterable<number>, outputBytes: number): string[] {
    return [...numbers].map((number) => {
      assert.equal(this.hcr.issue(opcode, { modifier: number, outputBytes }), CommandStatus.OK, `${number} exists`);
      const { output } = this.hcr;
      return Buffer.from(output.buffer, output.byteOffset, outputBytes).toString("hex");
    });
  }

  /** Every object of the model can be taken away by its number, in the order a driver does it. */
  takeApart(): void {
    for (const number of this.qps.keys()) assert.equal(this.hcr.issue(Command.ANY2RST_QP, { modifier: number }), 0);
    const ends = [
      [Command.HW2SW_SRQ, this.srqs.keys(), SrqContext.byteLength],
      [Command.HW2SW_CQ, this.cqs.keys(), CqContext.byteLength],
      [Command.HW2SW_EQ, this.eqs.keys(), EqContext.byteLength],
      [Command.HW2SW_MPT, this.mpts.keys(), Mpt.byteLength],
    ] as const;
    for (const [opcode, numbers, outputBytes] of ends) {
      for (const number of numbers) assert.equal(this.hcr.issue(opcode, { modifier: number, outputBytes }), 0, `${number}`);
    }
  }

  /** After a reset nothing is left, commands that need the device are refused, and it can be brought up again. */
  reset(): void {
    const { access, hca } = this.guest.node;
    access.writeRegister(Bar0.RESET, 1);
    access.settle();
    const { qps, cqs, srqs, regions, icm } = hca.adapter;
    assert.deepEqual([qps.count, cqs.count, srqs.count, regions.count, icm.mappedPages], [0, 0, 0, 0, 0]);
    assert.ok(hca.events.queues.every((queue) => queue === undefined));
    for (const opcode of NEED_DEVICE) assert.notEqual(this.hcr.issue(opcode, { modifier: 1 }), CommandStatus.OK, `${opcode}`);
    new Device(access, { logQps: 12, logCqs: 12, logMpts: 12, mtts: 1024 });
  }
}

const ENDING: readonly number[] = [
  Command.CLOSE_HCA,
  Command.INIT_HCA,
  Command.UNMAP_ICM,
  Command.CONF_SPECIAL_QP,
  Command.MAP_EQ,
];
const NEED_DEVICE = [
  Command.QUERY_DEV_LIM,
  Command.RST2INIT_QP,
  Command.SW2HW_CQ,
  Command.SW2HW_SRQ,
  Command.SW2HW_MPT,
  Command.QUERY_QP,
];

fuzz("commands", (random, budget) => {
  const world = new World(random, budget);
  for (let i = 0; i < COMMANDS; i++) world.act();
  if (random.chance(0.5)) world.takeApart();
  world.reset();
});

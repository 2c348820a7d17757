// The warm-up (warm-up.ts) of the way that programs of the host take (`--ibsim`): a subnet manager's first sweep of a thousand hosts is over in a
// second, half of which went to compiling. So a small fabric of its own is asked by a program in this very thread whatever OpenSM asks, over
// real sockets and through a whole domain.

import type { Clock } from "../base/clock.ts";
import { silentLog } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import { shapeTopology } from "../fabric/topology/shapes.ts";
import { nodesOf, type Topology } from "../fabric/topology/topology.ts";
import { AbstractDatagramSocket } from "../host/abstract-datagram.ts";
import { allocateNative } from "../host/mapping.ts";
import { bytesOf, newDirectedSmp } from "../mad/mad.ts";
import { PhysState, PortState } from "../spec/ib/numbers.ts";
import {
  CONTROL_DATA_AT,
  Connect,
  Control,
  ControlType,
  DATAGRAM_MAD_AT,
  IBSIM_MAGIC,
  MadDatagram,
  SocketName,
} from "../spec/ibsim/messages.ts";
import { MadHeader, SMP_DATA_AT, SMP_DATA_BYTES } from "../spec/mad/headers.ts";
import { MAD_BYTES, Method, NodeType, SmAttribute } from "../spec/mad/numbers.ts";
import { NodeInfo, PortInfo } from "../spec/mad/sm-attributes.ts";
import { DeviceDomain } from "./device-domain.ts";

const SHAPE = "fat-tree:4";
/** So many fabrics, and sweeps of each; a sweep is fourteen hundred requests. */
const FABRICS = 4;
const SWEEPS = 5;
/** Requests in one step: a millisecond while all is cold. */
const REQUESTS_PER_STEP = 16;
/** An answer takes one turn; more only if this machine is in trouble, and then nothing is gained here. */
const TURNS = 100;
const CLIENT_ID = 1;
const PERMISSIVE = 0xffff;

/** What OpenSM reads of a switch and of each port, and what of that it writes. */
const OF_NODE = [SmAttribute.NODE_DESCRIPTION];
const OF_SWITCH = [SmAttribute.SWITCH_INFO, SmAttribute.LINEAR_FORWARDING, SmAttribute.MULTICAST_FORWARDING];
const OF_PORT = [SmAttribute.PORT_INFO, SmAttribute.P_KEY_TABLE, SmAttribute.SL_TO_VL_MAPPING, SmAttribute.VL_ARBITRATION];

/** To INIT, to ARMED, to ACTIVE: two of five of all of OpenSM's requests. */
const PORT_INFO_SETS = 3;

/** A node that was found. */
interface Found {
  readonly path: readonly number[];
  readonly isSwitch: boolean;
  readonly portCount: number;
}

interface Warm {
  readonly domain: DeviceDomain;
  readonly program: Program;
}

/**
 * Sweeps such fabrics one after the other, some requests at each step. Several, because V8 takes what is so in the first object of a class for
 * a property of all, and throws the code away when the second one comes.
 * @returns what has to stay alive: code also goes when the last object of the kind that it is made for is collected
 */
export function* ibsimWarmUpSteps(clock: Clock, random: Random): Generator<void, Warm | undefined> {
  let last: Warm | undefined;
  for (let i = 0; i < FABRICS; i++) {
    const baseName = `vhca-warm-up-${process.pid}-${random.u32()}`;
    const topology = shapeTopology(SHAPE);
    const domain = new DeviceDomain({ clock, log: silentLog, random, sm: "none", topology });
    domain.serveIbsim(baseName, process.getuid?.() ?? 0);
    const program = new Program(baseName, firstHost(topology), () => domain.sweep(clock.nowNs()));
    for (let sweep = 0; sweep < SWEEPS && program.isAnswered; sweep++) {
      for (const _ of sweepOnce(program)) if (program.sent % REQUESTS_PER_STEP === 0) yield;
    }
    last?.program.close();
    last?.domain.close();
    last = { domain, program };
  }
  return last;
}

const firstHost = (topology: Topology): string => nodesOf(topology, "host")[0]?.name ?? "";

/** Finds all nodes by directed routes, reads them, and writes back what it has read; stops after each request. */
function* sweepOnce(program: Program): Generator<void, void> {
  const paths: (readonly number[])[] = [[]];
  const known = new Set<bigint>();
  for (let path = paths.shift(); path !== undefined; path = paths.shift()) {
    const info = program.ask(path, Method.GET, SmAttribute.NODE_INFO, 0);
    yield;
    const guid = NodeInfo.nodeGuid.getBig(info, SMP_DATA_AT);
    if (known.has(guid)) continue;
    known.add(guid);
    const isSwitch = NodeInfo.nodeType.get(info, SMP_DATA_AT) === NodeType.SWITCH;
    const found = { path, isSwitch, portCount: NodeInfo.portCount.get(info, SMP_DATA_AT) };
    if (isSwitch || path.length === 0) yield* findNeighbours(program, found, paths);
    yield* configure(program, found, known.size);
  }
}

function* findNeighbours(program: Program, { path, portCount }: Found, paths: (readonly number[])[]): Generator<void, void> {
  for (let port = 1; port <= portCount; port++) {
    const info = program.ask(path, Method.GET, SmAttribute.PORT_INFO, port);
    yield;
    if (PortInfo.physState.get(info, SMP_DATA_AT) === PhysState.LINK_UP) paths.push([...path, port]);
  }
}

function* configure(program: Program, { path, isSwitch, portCount }: Found, lid: number): Generator<void, void> {
  for (const attribute of isSwitch ? [...OF_NODE, ...OF_SWITCH] : OF_NODE) yield* copy(program, path, attribute, 0, lid);
  for (let port = isSwitch ? 0 : 1; port <= portCount; port++) {
    for (const attribute of OF_PORT) yield* copy(program, path, attribute, modifierOf(attribute, port, isSwitch), lid);
  }
}

/** Tables of a switch have the port in the upper half of the modifier, or in the third byte, and a block in the rest (14.2.5.7 to 14.2.5.9). */
function modifierOf(attribute: number, port: number, isSwitch: boolean): number {
  if (attribute === SmAttribute.PORT_INFO) return port;
  if (attribute === SmAttribute.P_KEY_TABLE) return isSwitch ? port << 16 : 0;
  if (attribute === SmAttribute.VL_ARBITRATION) return (1 << 16) | port;
  return isSwitch ? port : 0;
}

function* copy(
  program: Program,
  path: readonly number[],
  attribute: number,
  modifier: number,
  lid: number,
): Generator<void, void> {
  let answer = program.ask(path, Method.GET, attribute, modifier);
  yield;
  if (attribute === SmAttribute.NODE_DESCRIPTION) return;
  for (let i = attribute === SmAttribute.PORT_INFO ? PORT_INFO_SETS : 1; i > 0; i--) {
    if (attribute === SmAttribute.PORT_INFO) nextState(answer, lid);
    answer = program.ask(path, Method.SET, attribute, modifier, answer);
    yield;
  }
}

/** A port's next step to ACTIVE. */
function nextState(info: DataView, lid: number): void {
  const state = PortInfo.portState.get(info, SMP_DATA_AT);
  PortInfo.lid.set(info, SMP_DATA_AT, lid);
  PortInfo.smLid.set(info, SMP_DATA_AT, 1);
  const isGoing = state === PortState.INIT || state === PortState.ARMED;
  PortInfo.portState.set(info, SMP_DATA_AT, isGoing ? state + 1 : PortState.NO_CHANGE);
  PortInfo.physState.set(info, SMP_DATA_AT, PhysState.NO_CHANGE);
}

/** A program that the preload library has attached, as far as it matters here. */
class Program {
  sent = 0;
  /** Whether nothing has gone wrong so far. */
  isAnswered = true;
  readonly #turn: () => void;
  readonly #memory = allocateNative(4096);
  readonly #control: AbstractDatagramSocket;
  readonly #data: AbstractDatagramSocket;

  constructor(baseName: string, node: string, turn: () => void) {
    this.#turn = turn;
    this.#control = new AbstractDatagramSocket(`${baseName}:ctl${CLIENT_ID}`);
    this.#data = new AbstractDatagramSocket(SocketName.clientData(baseName, CLIENT_ID));
    this.#control.connect(SocketName.control(baseName));
    this.#attach(node);
    this.isAnswered &&= this.#data.connect(SocketName.data(baseName, 0)) === 0;
  }

  #attach(node: string): void {
    const { view } = this.#memory;
    Control.magic.set(view, 0, IBSIM_MAGIC);
    Control.type.set(view, 0, ControlType.CONNECT);
    Connect.id.set(view, CONTROL_DATA_AT, CLIENT_ID);
    Connect.isSm.set(view, CONTROL_DATA_AT, 1);
    Connect.nodeName.set(view, CONTROL_DATA_AT, Buffer.from(node));
    this.#exchange(this.#control, Control.byteLength);
  }

  /** Sends a request, with the data of another MAD if there are some, and waits for the answer. */
  ask(path: readonly number[], method: number, attribute: number, modifier: number, data?: DataView): DataView {
    const mad = newDirectedSmp(path, method, attribute, modifier);
    if (data !== undefined) bytesOf(mad).set(bytesOf(data).subarray(SMP_DATA_AT, SMP_DATA_AT + SMP_DATA_BYTES), SMP_DATA_AT);
    MadHeader.tid.lo.set(mad, 0, ++this.sent);
    const { view, bytes } = this.#memory;
    bytes.fill(0, 0, DATAGRAM_MAD_AT);
    MadDatagram.dlid.set(view, 0, PERMISSIVE);
    MadDatagram.length.lo.set(view, 0, MAD_BYTES);
    bytes.set(bytesOf(mad), DATAGRAM_MAD_AT);
    this.#exchange(this.#data, MadDatagram.byteLength);
    bytesOf(mad).set(bytes.subarray(DATAGRAM_MAD_AT, DATAGRAM_MAD_AT + MAD_BYTES));
    return mad;
  }

  #exchange(socket: AbstractDatagramSocket, length: number): void {
    if (socket.send(this.#memory, 0, length) < 0) this.isAnswered = false;
    for (let i = 0; i < TURNS; i++) {
      this.#turn();
      if (socket.receive(this.#memory, 0, length) > 0) return;
    }
    this.isAnswered = false;
  }

  close(): void {
    this.#control.close();
    this.#data.close();
  }
}

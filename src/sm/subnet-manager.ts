// The built-in subnet manager: finds the subnet, gives it LIDs and routes, makes its ports active, and keeps it so.
// IBA vol 1, 14.4. It speaks only in MADs through the port it is given, so it could sit behind any end port.
//
//   trap, sweep ─► Discovery ─► (quiet but for stragglers) ─► LIDs, routes ─► Configurator ─► ports ACTIVE
//   QP1 ─────────► SubnetAdministrator ─► groups ─► MulticastProgrammer ─► SwitchProgrammer

import { type Log, silentLog } from "../base/log.ts";
import { guidText, hex } from "../base/names.ts";
import type { Random } from "../base/random.ts";
import type { EndpointFactory, ManagementEndpoint, ManagementPort } from "../mad/endpoint.ts";
import { bytesOf, copyMad, isSmpClass, makeResponse } from "../mad/mad.ts";
import { buildMadPacket, type MadPacket, parseMadPacket, replyAddress } from "../mad/packet.ts";
import { Transactions } from "../mad/transactions.ts";
import { Lrh } from "../spec/ib/headers.ts";
import { Qpn } from "../spec/ib/numbers.ts";
import { MadHeader, SMP_DATA_AT, SMP_DATA_BYTES, Smp } from "../spec/mad/headers.ts";
import { MadStatus, Method, MgmtClass, SmAttribute, Trap } from "../spec/mad/numbers.ts";
import { Notice, SmInfo } from "../spec/mad/sm-attributes.ts";
import { Configurator } from "./configurator.ts";
import { Discovery } from "./discovery.ts";
import { Doubts } from "./doubts.ts";
import { inspectManager, type ManagerView } from "./inspect.ts";
import { assignLids, LidTable } from "./lids.ts";
import { MulticastProgrammer } from "./multicast-programmer.ts";
import { Negotiation } from "./negotiation.ts";
import { DEFAULT_SETTINGS, type Settings, type SubnetManagerOptions } from "./options.ts";
import { Partitions } from "./partitions.ts";
import { PortSettings } from "./port-settings.ts";
import { routingEngine } from "./routing/names.ts";
import { routeUnicast } from "./routing/route.ts";
import { SubnetAdministrator } from "./sa/administrator.ts";
import { GroupTable } from "./sa/groups.ts";
import { ipoibGroups } from "./sa/mcmember.ts";
import { ServiceLevels } from "./service-levels.ts";
import { SmpClient, SmpGroup } from "./smp-client.ts";
import { Subnet, type SubnetPort } from "./subnet.ts";

/** A factory for `LabFabric`: `new LabFabric({ subnetManager: subnetManager({ random }) })`. */
export const subnetManager = (options: SubnetManagerOptions): EndpointFactory => {
  // Whoever comes after one that died has its LIDs, as OpenSM keeps them in a file: a new port must not get those of one that answers late.
  const lids = new LidTable();
  return (port) => new SubnetManager(port, options, lids);
};

export interface ManagerCounts {
  sweeps: number;
  lightSweeps: number;
  /** Times that everything was written again (doubts.ts). */
  rewrites: number;
  reconciliations: number;
  traps: number;
  malformed: number;
  /** Requests the manager has no answer for. */
  ignored: number;
  /** Ports without a LID because all are in use. */
  withoutLid: number;
}

export class SubnetManager implements ManagementEndpoint {
  readonly counts: ManagerCounts = {
    sweeps: 0,
    lightSweeps: 0,
    rewrites: 0,
    reconciliations: 0,
    traps: 0,
    malformed: 0,
    ignored: 0,
    withoutLid: 0,
  };
  readonly subnet: Subnet = new Subnet();
  readonly groups: GroupTable = new GroupTable();
  readonly settings: Settings;
  readonly transactions: Transactions;
  readonly smps: SmpClient;
  readonly discovery: Discovery;
  readonly partitions: Partitions;
  readonly levels: ServiceLevels;
  readonly configurator: Configurator;
  readonly administrator: SubnetAdministrator;
  readonly negotiation: Negotiation;
  readonly #port: ManagementPort;
  readonly #ports: PortSettings;
  readonly #log: Log;
  readonly #lids: LidTable;
  readonly #multicast: MulticastProgrammer;
  readonly #doubts: Doubts = new Doubts();
  /** Discovery has found something new since the last reconciliation. */
  #isDirty = false;
  /** Why the routing engine could not be used the last time. */
  #refusal: string | undefined = undefined;
  #nextSweepNs = 0;
  #hasSwept = false;

  /** @param lids those that ports have had before */
  constructor(port: ManagementPort, options: SubnetManagerOptions, lids: LidTable = new LidTable()) {
    this.#lids = lids;
    this.#port = port;
    this.#log = options.log ?? silentLog;
    const { random, log: _log, ...given } = options;
    this.settings = { ...DEFAULT_SETTINGS, ...given };
    const { smpTimeoutNs, smpTries, maxOutstanding } = this.settings;
    const send = (packet: Uint8Array): void => port.send(packet);
    this.transactions = new Transactions({ send, random, timeoutNs: smpTimeoutNs, tries: smpTries, maxOutstanding });
    this.smps = new SmpClient(this.transactions, this.settings.mkeyOf);
    this.smps.onSet = (nowNs) => this.#doubts.wrote(nowNs);
    this.discovery = new Discovery(this.subnet, this.smps, this.settings.maySwitchBeBehind, () => {
      this.#isDirty = true;
    });
    const tablesPending = (): number => this.transactions.freshCount(SmpGroup.TABLES);
    this.levels = new ServiceLevels(this.settings.qos);
    this.partitions = new Partitions(this.settings.partitions, this.subnet, (port) => this.#hostName(port));
    this.#ports = new PortSettings(this.subnet, this.settings, this.partitions, this.levels);
    this.configurator = new Configurator(this.subnet, this.smps, this.#ports, this.discovery, tablesPending, (active, nowNs) => {
      this.#log.debug(`port ${guidText(active.guid)} of ${guidText(active.node.guid)} is active`);
      if (active.isEndPort) this.administrator.portAdded(active.guid, nowNs);
    });
    this.configurator.tables.addPlan(this.partitions);
    this.configurator.tables.addPlan(this.levels);
    this.#multicast = new MulticastProgrammer(this.subnet, this.groups, this.configurator.switches);
    this.negotiation = new Negotiation({
      subnet: this.subnet,
      smps: this.smps,
      settings: this.settings,
      guid: port.guid,
      smInfo: () => this.smInfo(),
      tookOver: (nowNs) => {
        this.subnet.forget();
        this.sweep(nowNs);
      },
    });
    this.administrator = new SubnetAdministrator(this.#saHost(random));
    port.setIsSm(true);
    this.configurator.tables.addPlan(this.administrator.aliases);
    for (const { mgid, parameters } of ipoibGroups(this.settings)) this.groups.create(mgid, parameters, true);
  }

  /** The manager's LID, 0 before it has one. */
  get lid(): number {
    return this.#ports.smLid;
  }

  /** Looks at the whole subnet again, now. */
  sweep(nowNs: number): void {
    this.counts.sweeps++;
    this.#nextSweepNs = nowNs + this.settings.sweepIntervalNs;
    this.discovery.sweepAll(nowNs);
  }

  receive(bytes: Uint8Array, nowNs: number): void {
    const packet = parseMadPacket(bytes);
    if (packet === undefined) {
      this.counts.malformed++;
      return;
    }
    const mgmtClass = MadHeader.mgmtClass.get(packet.view, packet.madAt);
    const isSmp = isSmpClass(mgmtClass);
    if (isSmp !== (packet.destQp === Qpn.SMI)) this.counts.malformed++;
    else if (isSmp) this.#receiveSmp(packet, nowNs);
    else if (mgmtClass === MgmtClass.SUBN_ADM && this.negotiation.isMaster) this.administrator.receive(packet, nowNs);
    else this.counts.ignored++;
    this.#work(nowNs);
  }

  step(nowNs: number): void {
    if (!this.#hasSwept) {
      this.#hasSwept = true;
      this.sweep(nowNs);
    }
    this.transactions.step(nowNs);
    this.negotiation.step(nowNs);
    if (!this.negotiation.isMaster) return;
    this.discovery.step(nowNs);
    this.administrator.step(nowNs);
    if (nowNs >= this.#nextSweepNs) {
      this.counts.lightSweeps++;
      this.#nextSweepNs = nowNs + this.settings.sweepIntervalNs;
      this.discovery.sweepLight(nowNs);
    }
    if (nowNs >= this.#doubts.dueNs) this.#writeAllAgain(nowNs);
    this.#work(nowNs);
  }

  #writeAllAgain(nowNs: number): void {
    this.counts.rewrites++;
    this.#doubts.settle(nowNs);
    this.configurator.forget();
    this.sweep(nowNs);
  }

  nextDeadlineNs(): number {
    if (!this.#hasSwept) return 0;
    if (!this.negotiation.isMaster) return Math.min(this.transactions.nextDeadlineNs(), this.negotiation.nextDeadlineNs());
    return Math.min(
      this.#nextSweepNs,
      this.#doubts.dueNs,
      this.negotiation.nextDeadlineNs(),
      this.transactions.nextDeadlineNs(),
      this.discovery.nextDeadlineNs(),
      this.administrator.nextDeadlineNs(),
    );
  }

  /** Name by which partitions know the host of a port: where its cable is tells more than what it says of itself. */
  #hostName({ node, peer }: SubnetPort): string {
    const name = peer === undefined ? undefined : this.settings.hostBehind(peer.node.guid, peer.number);
    return name ?? Buffer.from(node.description).toString().replaceAll("\0", "");
  }

  inspect(): ManagerView {
    return inspectManager(this);
  }

  /** Reconciles once discovery is through but for nodes that have not answered the first time. */
  #work(nowNs: number): void {
    if (!this.negotiation.isMaster) return;
    this.discovery.readOn(nowNs);
    if (this.#isDirty && this.transactions.freshCount(SmpGroup.DISCOVERY) === 0) this.#reconcile(nowNs);
    if (this.configurator.isReady) this.configurator.step(nowNs);
  }

  /** From what was found to what is wanted, and from there to Sets. */
  #reconcile(nowNs: number): void {
    this.#isDirty = false;
    this.counts.reconciliations++;
    this.#doubts.look(this.subnet.movedTrunks, nowNs);
    for (const port of this.subnet.prune()) {
      this.#log.debug(`port ${guidText(port.guid)} is gone`);
      this.administrator.portRemoved(port.guid, nowNs);
    }
    this.counts.withoutLid += assignLids(this.subnet, this.#lids, this.settings.lmc);
    this.subnet.reindex();
    this.#route();
    this.configurator.apply(nowNs);
    this.#multicast.topologyChanged(nowNs);
    this.administrator.groupsChanged(nowNs);
    this.discovery.probeLooseEnds(nowNs);
    this.negotiation.look(nowNs);
  }

  #route(): void {
    const { routing } = this.settings;
    const refusal = routeUnicast(this.subnet, routingEngine(routing));
    if (refusal !== undefined && refusal !== this.#refusal) this.#log.warn(`routing by min-hop, not ${routing}: ${refusal}`);
    this.#refusal = refusal;
  }

  // --- QP0

  #receiveSmp(packet: MadPacket, nowNs: number): void {
    const { view, madAt } = packet;
    const method = MadHeader.method.get(view, madAt);
    if (method === Method.GET_RESP) this.transactions.receive(packet, nowNs);
    else if (method === Method.TRAP) this.#trapped(packet, nowNs);
    else if (MadHeader.attributeId.get(view, madAt) === SmAttribute.SM_INFO) this.#answerSmInfo(packet, nowNs);
    else this.counts.ignored++;
  }

  #answerSmInfo(packet: MadPacket, nowNs: number): void {
    const mad = copyMad(packet.bytes, packet.madAt);
    const method = MadHeader.method.get(mad, 0);
    if (method !== Method.GET && method !== Method.SET) {
      this.counts.ignored++;
      return;
    }
    const isSet = method === Method.SET;
    const sender = this.subnet.findPort(SmInfo.guid.getBig(mad, SMP_DATA_AT));
    const control = MadHeader.attributeModifier.get(mad, 0);
    makeResponse(mad, isSet ? this.negotiation.controlled(control, sender, nowNs) : MadStatus.OK);
    bytesOf(mad).set(bytesOf(this.smInfo()), SMP_DATA_AT);
    if (MadHeader.mgmtClass.get(mad, 0) === MgmtClass.SUBN_DIRECTED_ROUTE) Smp.direction.set(mad, 0, 1);
    this.#port.send(buildMadPacket(replyAddress(packet, this.lid), mad));
  }

  /** SMInfo of this manager, with its SM_Key. */
  smInfo(): DataView {
    const { sweeps, lightSweeps, reconciliations } = this.counts;
    return this.negotiation.smInfo(sweeps + lightSweeps + reconciliations);
  }

  /** Represses the trap and acts on it (13.4.9, 14.4.5); a standby, too, is told what was on its way when it gave the subnet away, and only represses it. */
  #trapped(packet: MadPacket, nowNs: number): void {
    this.counts.traps++;
    const { view, madAt } = packet;
    const sender = this.subnet.byLid.get(packet.slid);
    if (MadHeader.attributeId.get(view, madAt) !== SmAttribute.NOTICE || sender === undefined) return;
    const repress = repressOf(packet, this.settings.mkeyOf(sender.node.guid));
    this.#port.send(buildMadPacket(replyAddress(packet, this.lid), repress));
    if (!this.negotiation.isMaster) return;
    const at = madAt + SMP_DATA_AT;
    const number = Notice.trapNumber.get(view, at);
    // whoever issues a trap in another's name is not passed on
    if (this.subnet.byLid.get(Notice.issuerLid.get(view, at)) === sender) {
      this.administrator.forward(packet.bytes.subarray(at, at + SMP_DATA_BYTES), sender, nowNs);
    }
    if (number === Trap.LINK_STATE && sender.node.isSwitch) this.discovery.scan(sender.node, nowNs);
    else if (number === Trap.CAPABILITY_CHANGE) this.discovery.refresh(sender, nowNs);
    else this.#log.debug(`trap ${number} from LID ${hex(Lrh.slid.get(view, 0))}`);
  }

  #saHost(random: Random): ConstructorParameters<typeof SubnetAdministrator>[0] {
    const manager = this;
    return {
      subnet: this.subnet,
      settings: this.settings,
      partitions: this.partitions,
      groups: this.groups,
      random,
      get lid() {
        return manager.lid;
      },
      guid: this.#port.guid,
      smInfo: () => this.smInfo(),
      send: (packet) => this.#port.send(packet),
      levels: this.levels,
      tablesChanged: (port, nowNs) => {
        this.configurator.tables.start(port, nowNs);
      },
      membersChanged: (nowNs) => this.#multicast.membersChanged(nowNs),
    };
  }
}

/** TrapRepress of a trap: the same again, with the M_Key of who sent it (13.4.9, 14.2.4.1). */
function repressOf(packet: MadPacket, mkey: bigint): DataView {
  const mad = copyMad(packet.bytes, packet.madAt);
  MadHeader.method.set(mad, 0, Method.TRAP_REPRESS);
  Smp.mkey.setBig(mad, 0, mkey);
  return mad;
}

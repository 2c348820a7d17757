// The driver's side of an event queue: consume EQEs, publish the consumer index, arm. Docs "infinihost" 5.8, 5.9.

import { Command } from "../spec/hca/commands.ts";
import { Access, EqContext, EqState } from "../spec/hca/contexts.ts";
import { EQE_BYTES, EQE_CQ_SYNDROME_AT, Eqe, EqeCommand, EventType } from "../spec/hca/queues.ts";
import { Bar0, EQ_SET_CI_STRIDE } from "../spec/hca/registers.ts";
import type { Device } from "./device.ts";
import { Region } from "./memory-region.ts";

const OWNER_AT = 31;
const HARDWARE_OWNED = 0x80;

/** An event other than a command's completion. */
export interface DeviceEvent {
  type: number;
  subType: number;
  /** CQN, QPN or SRQN. */
  number: number;
  port: number;
  syndrome: number;
}

export class DriverEventQueue {
  readonly number: number;
  readonly #device: Device;
  readonly region: Region;
  readonly #size: number;
  #consumer = 0;

  /** @param intr the context's `intr`: an MSI-X vector or the INTA pin (1.3) */
  constructor(device: Device, number: number, logSize: number, intr: number, pd: number) {
    this.#device = device;
    this.number = number;
    this.#size = 2 ** logSize;
    const block = device.heap.allocate(this.#size * EQE_BYTES);
    const { bytes, view } = device.access.memory;
    for (let i = 0; i < this.#size; i++) bytes[block.at + i * EQE_BYTES + OWNER_AT] = HARDWARE_OWNED;
    this.region = new Region(device, block, { pd, access: Access.LOCAL_WRITE, virtualAddress: 0n });
    device.commands.run(Command.SW2HW_EQ, {
      modifier: number,
      input: (_view, at) => {
        EqContext.owner.set(view, at, 1);
        EqContext.translation.set(view, at, 1);
        EqContext.state.set(view, at, EqState.ARMED);
        EqContext.logSize.set(view, at, logSize);
        EqContext.intr.set(view, at, intr);
        EqContext.pd.set(view, at, pd);
        EqContext.lkey.set(view, at, this.region.lkey);
      },
    });
  }

  /** Consumes every EQE there is and arms the queue again, as the MSI-X handler does. */
  handleInterrupt(): void {
    this.consume();
    this.#device.access.writeRegister(Bar0.EQ_ARM + 4, (1 << this.number) >>> 0);
  }

  /** Consumes every EQE there is and publishes the consumer index. */
  consume(): void {
    const { memory } = this.#device.access;
    for (;;) {
      const at = this.region.block.at + (this.#consumer % this.#size) * EQE_BYTES;
      if ((memory.bytes[at + OWNER_AT]! & HARDWARE_OWNED) !== 0) break;
      this.#dispatch(memory.view, at);
      memory.bytes[at + OWNER_AT] = HARDWARE_OWNED;
      this.#consumer = (this.#consumer + 1) >>> 0;
    }
    this.#device.access.writeRegister(Bar0.EQ_SET_CI + this.number * EQ_SET_CI_STRIDE, this.#consumer);
  }

  #dispatch(view: DataView, at: number): void {
    const type = Eqe.type.get(view, at);
    if (type === EventType.COMMAND) {
      const { token, status, outParam } = EqeCommand;
      this.#device.commands.complete(
        token.get(view, at),
        status.get(view, at),
        outParam.hi.get(view, at),
        outParam.lo.get(view, at),
      );
      return;
    }
    this.#device.handleEvent({
      type,
      subType: Eqe.subType.get(view, at),
      number: Eqe.number.get(view, at),
      port: Eqe.portNumber.get(view, at),
      syndrome: view.getUint8(at + EQE_CQ_SYNDROME_AT),
    });
  }

  destroy(): void {
    this.#device.commands.run(Command.HW2SW_EQ, { modifier: this.number, outputBytes: EqContext.byteLength });
    this.region.deregister();
    this.#device.heap.free(this.region.block);
  }
}

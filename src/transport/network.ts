// All HCA ports that this engine carries messages between: the end ports of a fabric by their number.

import type { AdapterPort } from "./port.ts";

export class Network {
  readonly #ports: (AdapterPort | undefined)[] = [];
  /** Changes when a QP, a port or a connection's state may have changed: cached peers are looked up again. */
  epoch = 0;

  /** Connects a port under the number its wire has in the fabric. */
  attach(port: AdapterPort): void {
    const index = port.wire.index;
    while (this.#ports.length <= index) this.#ports.push(undefined);
    this.#ports[index] = port;
    this.epoch++;
  }

  detach(port: AdapterPort): void {
    if (this.#ports[port.wire.index] === port) this.#ports[port.wire.index] = undefined;
    this.epoch++;
  }

  /** The HCA port behind end port `index`, if it is one. */
  portAt(index: number): AdapterPort | undefined {
    return index >= 0 ? this.#ports[index] : undefined;
  }

  connectionsChanged(): void {
    this.epoch++;
  }
}

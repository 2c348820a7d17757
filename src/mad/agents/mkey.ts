// M_Key protection of a port. IBA vol 1, 14.2.4.

import { NS_PER_S } from "../../base/clock.ts";
import { MadHeader, Smp } from "../../spec/mad/headers.ts";
import { Method } from "../../spec/mad/numbers.ts";
import { PortInfo } from "../../spec/mad/sm-attributes.ts";
import type { PortAttributes } from "../attributes.ts";

/** Protect level up to which a Get needs no key. */
const GET_IS_FREE = 1;

/** True if the SMP may be executed (14.2.4.1). A violation is counted and starts the lease (14.2.4.2). */
export function checkMkey(port: PortAttributes, mad: DataView, nowNs: number): boolean {
  if (nowNs >= port.mkeyLeaseEndNs) {
    PortInfo.mkeyProtect.set(port.info, 0, 0);
    port.mkeyLeaseEndNs = Number.POSITIVE_INFINITY;
  }
  if (hasMkey(port, mad)) {
    port.mkeyLeaseEndNs = Number.POSITIVE_INFINITY;
    return true;
  }
  if (MadHeader.method.get(mad, 0) === Method.GET && PortInfo.mkeyProtect.get(port.info, 0) <= GET_IS_FREE) return true;
  port.countViolation("mkeyViolations");
  const leaseSeconds = PortInfo.mkeyLeasePeriod.get(port.info, 0);
  if (leaseSeconds > 0 && port.mkeyLeaseEndNs === Number.POSITIVE_INFINITY) {
    port.mkeyLeaseEndNs = nowNs + leaseSeconds * NS_PER_S;
  }
  return false;
}

/** Whether the SMP carries the port's M_Key, or the port has none. */
export function hasMkey(port: PortAttributes, mad: DataView): boolean {
  const key = PortInfo.mkey.getBig(port.info, 0);
  return key === 0n || key === Smp.mkey.getBig(mad, 0);
}

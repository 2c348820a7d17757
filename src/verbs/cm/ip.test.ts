import assert from "node:assert/strict";
import { isIP } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { VerbsError } from "../error.ts";
import { gidText } from "../gid.ts";
import { ipText, linkLocalOf, parseIp } from "./ip.ts";
import { decodeIpHeader, encodeIpHeader, isIpService, portOf, serviceIdOf } from "./ip-header.ts";

test("addresses of both kinds, as text and as bytes", () => {
  fc.assert(fc.property(fc.ipV4(), (text) => ipText(parseIp(text)) === text));
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      assert.equal(isIP(gidText(bytes)), 6, gidText(bytes));
      assert.deepEqual(parseIp(gidText(bytes)), bytes);
    }),
  );
  assert.equal(gidText(parseIp("::ffff:10.87.0.1")), "::ffff:a57:1");
  assert.deepEqual(
    ["fe80::1", "::", "::1", "1::", "1:0:0:2::3"].map((text) => gidText(parseIp(text))),
    [...["fe80::1", "::", "::1", "1::", "1:0:0:2::3"]],
  );
});

test("what is no address is refused, as node:net refuses it", () => {
  const part = fc.constantFrom(":", "::", ".", "1", "0", "256", "ffff", "fe80", "g", "12345", "-1", " 1");
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
      const text = parts.join("");
      if (isIP(text) !== 0) assert.equal(parseIp(text).length, isIP(text) === 4 ? 4 : 16);
      else assert.throws(() => parseIp(text), VerbsError);
    }),
  );
});

test("the IPoIB address of a port", () => {
  assert.equal(ipText(linkLocalOf(parseIp("fe80::2:c902:0:11"))), "fe80::202:c902:0:11");
});

test("the IP header, there and back; ports and service ids", () => {
  for (const [source, destination] of [
    ["10.87.0.1", "10.87.0.2"],
    ["fe80::1", "fe80::2"],
  ] as const) {
    const header = encodeIpHeader(parseIp(source), 4711, parseIp(destination));
    assert.equal(header.length, 36);
    assert.deepEqual(decodeIpHeader(header), { source, sourcePort: 4711, destination });
    header[0] = 0x10;
    assert.equal(decodeIpHeader(header), undefined, "another major version");
  }
  assert.equal(serviceIdOf(7174), 0x0000000001061c06n);
  assert.equal(portOf(serviceIdOf(7174)), 7174);
  assert.deepEqual([isIpService(serviceIdOf(1)), isIpService(0x1000000000000042n)], [true, false]);
});

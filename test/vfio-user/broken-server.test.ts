// The client against servers that are wrong: every mistake becomes an error that says what, in answer to what and where, and no
// call waits longer than it was told to.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { allocateNative } from "../../src/host/mapping.ts";
import { createSharedMemory } from "../../src/host/shared-memory.ts";
import { Errno } from "../../src/host/system-error.ts";
import { UnixListener, type UnixSocket } from "../../src/host/unix-socket.ts";
import {
  DeviceInfo,
  Header,
  RegionAccess,
  RegionInfo,
  SparseMmap,
  SparseMmapArea,
  Version,
} from "../../src/spec/vfio-user/messages.ts";
import { Command, MessageType, RegionFlag } from "../../src/spec/vfio-user/numbers.ts";
import { VfioUserClient } from "../../src/vfio-user/index.ts";
import { MAX_MESSAGE_BYTES } from "../../src/vfio-user/limits.ts";
import { type HeaderFields, message, openDescriptors, record } from "./raw-peer.ts";

/** What the server says to one request: bytes, perhaps with descriptors; nothing; or "close". */
interface Answer {
  readonly bytes?: Uint8Array;
  readonly descriptors?: readonly number[];
  readonly isLast?: boolean;
}
type Script = (id: number, command: number) => Answer;

const BUFFER_BYTES = 2 ** 22;

/** A server that answers as it is told, in the thread of its client. */
class ScriptedServer {
  readonly path: string;
  script: Script = () => ({});
  /** Requests it has seen, by command. */
  readonly seen: number[] = [];
  readonly #listener: UnixListener;
  readonly #buffer = allocateNative(BUFFER_BYTES);
  #socket: UnixSocket | undefined;
  #have = 0;

  constructor(t: TestContext) {
    const before = openDescriptors();
    const folder = mkdtempSync(join(tmpdir(), "vhca-broken-"));
    this.path = join(folder, "s");
    this.#listener = new UnixListener(this.path);
    t.after(() => {
      this.hangUp();
      this.#listener.close();
      this.#buffer.mapping.release();
      rmSync(folder, { recursive: true });
      assert.equal(openDescriptors(), before, "descriptors leaked");
    });
  }

  /** Reads one whole request, if it is there, and answers it. */
  turn(): void {
    this.#socket ??= this.#listener.accept();
    const socket = this.#socket;
    if (socket === undefined) return;
    const count = socket.receive(this.#buffer, this.#have, BUFFER_BYTES / 2 - this.#have);
    if (count > 0) this.#have += count;
    const { view } = this.#buffer;
    if (this.#have < Header.byteLength || this.#have < Header.size.get(view, 0)) return;
    this.#have = 0;
    const command = Header.command.get(view, 0);
    this.seen.push(command);
    const { bytes, descriptors, isLast } = this.script(Header.id.get(view, 0), command);
    if (bytes !== undefined) this.say(bytes, descriptors);
    if (isLast) this.hangUp();
  }

  say(bytes: Uint8Array, descriptors: readonly number[] = []): void {
    this.#buffer.bytes.set(bytes, BUFFER_BYTES / 2);
    this.#socket?.send(this.#buffer, BUFFER_BYTES / 2, bytes.length, Int32Array.from(descriptors), descriptors.length);
  }

  hangUp(): void {
    this.#socket?.close();
    this.#socket = undefined;
    this.#have = 0;
  }

  connect(timeoutMs = 60_000): VfioUserClient {
    return new VfioUserClient(this.path, { timeoutMs, whileWaiting: () => this.turn() });
  }
}

const reply = (id: number, command: number, payload?: Uint8Array, fields: HeaderFields = {}): Buffer =>
  message(command, payload, { id, type: MessageType.REPLY, ...fields });
const version = (json = "{}\0", major = 0): Buffer => record(Version, { major, minor: 0 }, Buffer.from(json));

/** Right about the version, and then as `next` says. */
const afterVersion =
  (next: Script): Script =>
  (id, command) =>
    command === Command.VERSION ? { bytes: reply(id, command, version()) } : next(id, command);

/** A client that has negotiated with a server which goes on as `next` says; gone after `use`. */
function withClient(server: ScriptedServer, next: Script, use: (client: VfioUserClient) => void, timeoutMs?: number): void {
  server.script = afterVersion(next);
  const client = server.connect(timeoutMs);
  try {
    use(client);
  } finally {
    client.close();
    server.hangUp();
  }
}

test("client: a server that negotiates wrongly: an error that names the socket, and nothing stays open", (t) => {
  const server = new ScriptedServer(t);
  const refused = (script: Script, expected: object): void => {
    server.script = script;
    assert.throws(() => server.connect(), expected);
    server.hangUp();
  };
  const { VERSION } = Command;
  refused((id) => ({ bytes: reply(id, VERSION, version("{}\0", 7)) }), {
    errno: Errno.EPROTO,
    message: /broken.*protocol version 7/,
  });
  refused((id) => ({ bytes: reply(id, VERSION, Buffer.alloc(3)) }), {
    errno: Errno.EPROTO,
    message: /3 bytes in answer to VERSION/,
  });
  refused((id) => ({ bytes: reply(id, VERSION, version("{}")) }), { errno: Errno.EPROTO, message: /broken.*terminating NUL/ });
  refused((id) => ({ bytes: reply(id, VERSION, version("{[}\0")) }), { errno: Errno.EPROTO, message: /not JSON/ });
  refused((id) => ({ bytes: reply(id, VERSION, version('{"capabilities":{"max_msg_fds":-1}}\0')) }), { message: /max_msg_fds/ });
  refused((id) => ({ bytes: reply(id, VERSION, undefined, { error: 1, errno: Errno.ENOTSUP }) }), {
    errno: Errno.ENOTSUP,
    message: /VERSION from .*broken/,
  });
  refused(() => ({ isLast: true }), { code: "ECONNRESET", message: /broken.*before it answered VERSION/ });
});

test("client: replies that are short, or to something else", (t) => {
  const { DEVICE_GET_INFO, DEVICE_RESET } = Command;
  const info = record(DeviceInfo, {});
  const wrong: readonly [script: Script, message: RegExp][] = [
    [(id, command) => ({ bytes: reply(id, command) }), /broken.*sent 0 bytes in answer to DEVICE_GET_INFO/],
    [(id, command) => ({ bytes: reply(id, command, info.subarray(0, 15)) }), /15 bytes in answer to DEVICE_GET_INFO/],
    [(id, command) => ({ bytes: reply(id + 1, command, info) }), /reply to another command than DEVICE_GET_INFO/],
    [(id) => ({ bytes: reply(id, DEVICE_RESET, info) }), /than DEVICE_GET_INFO: DEVICE_RESET/],
    [(id, command) => ({ bytes: reply(id, command, info, { size: 15 }) }), /message of 15 bytes in answer to DEVICE_GET_INFO/],
    [(id, command) => ({ bytes: reply(id, command, info, { size: MAX_MESSAGE_BYTES + 1 }) }), /message of \d+ bytes/],
  ];
  const server = new ScriptedServer(t);
  for (const [script, expected] of wrong) {
    withClient(server, script, (client) => {
      assert.throws(() => client.deviceInfo(), { name: "VfioUserError", errno: Errno.EPROTO, message: expected });
      assert.equal(server.seen.at(-1), DEVICE_GET_INFO);
    });
  }
});

test("client: error replies say which command failed where; one without a number is EIO", (t) => {
  let errno: number = Errno.EBUSY;
  const server = new ScriptedServer(t);
  withClient(
    server,
    (id, command) => ({ bytes: reply(id, command, undefined, { error: 1, errno }) }),
    (client) => {
      assert.throws(() => client.reset(), { errno, message: `EBUSY: answer to DEVICE_RESET from ${server.path}` });
      errno = 0;
      assert.throws(() => client.reset(), { errno: Errno.EIO });
      errno = 0xffff_ffff;
      assert.throws(() => client.reset(), { errno, message: /errno 4294967295/ });
    },
  );
});

test("client: a server that closes after any byte of its reply", (t) => {
  const server = new ScriptedServer(t);
  const whole = reply(0, Command.DEVICE_GET_INFO, record(DeviceInfo, {}));
  for (let cut = 0; cut < whole.length; cut++) {
    server.script = afterVersion((id, command) => ({
      bytes: reply(id, command, record(DeviceInfo, {})).subarray(0, cut),
      isLast: true,
    }));
    const client = server.connect();
    const expected = { code: "ECONNRESET", message: /ended the session before it answered DEVICE_GET_INFO/ };
    assert.throws(() => client.deviceInfo(), expected, `after byte ${cut}`);
    assert.throws(() => client.reset(), expected, "nothing more can be asked");
    client.close();
  }
});

test("client: a server that never answers, or with something else for ever: the time is up, and stays so", (t) => {
  const own = message(Command.DMA_READ, new Uint8Array(16));
  const scripts: Script[] = [
    () => ({}),
    (id, command) => ({ bytes: reply(id, command, record(DeviceInfo, {})).subarray(0, 20) }),
  ];
  const server = new ScriptedServer(t);
  for (const script of scripts) {
    withClient(
      server,
      script,
      (client) => {
        const expected = { code: "ETIMEDOUT", message: /broken.*no answer to DEVICE_GET_INFO within 100 ms/ };
        assert.throws(() => client.deviceInfo(), expected);
        const { length } = server.seen;
        assert.throws(() => client.reset(), expected, "a late reply would be taken for this one's");
        assert.equal(server.seen.length, length);
      },
      100,
    );
  }
  server.script = afterVersion(() => ({}));
  let isFlooding = false;
  const whileWaiting = (): void => {
    server.turn();
    if (isFlooding) server.say(own);
  };
  const client = new VfioUserClient(server.path, { timeoutMs: 100, whileWaiting });
  isFlooding = true;
  assert.throws(() => client.deviceInfo(), { code: "ETIMEDOUT" });
  client.close();
});

test("client: commands of the server's in between, with descriptors, are passed over and these closed", (t) => {
  withClient(
    new ScriptedServer(t),
    (id, command) => ({
      bytes: Buffer.concat([
        message(Command.DMA_WRITE, new Uint8Array(64)),
        reply(id, command, record(DeviceInfo, { regionCount: 3 })),
      ]),
      descriptors: [0, 0, 0],
    }),
    (client) => {
      const before = openDescriptors();
      for (let i = 0; i < 10; i++) assert.equal(client.deviceInfo().regionCount, 3);
      client.deviceInfo();
      assert.ok(openDescriptors() <= before + 3, "those of the last message, until the next comes");
    },
  );
});

test("client: a read of another length than asked for", (t) => {
  let length = 0;
  withClient(
    new ScriptedServer(t),
    (id, command) => ({ bytes: reply(id, command, record(RegionAccess, {}, new Uint8Array(length))) }),
    (client) => {
      for (length of [0, 3, 5, 4096]) assert.throws(() => client.read(0, 0, 4), { errno: Errno.EPROTO, message: /expected 4/ });
      for (length of [0, 3]) assert.throws(() => client.read32(0, 0), { errno: Errno.EPROTO });
      length = 4;
      assert.deepEqual(client.read(0, 0, 4), new Uint8Array(4));
    },
  );
});

test("client: region descriptions that contradict themselves, and descriptors of the wrong kind", (t) => {
  const server = new ScriptedServer(t);
  const shared = createSharedMemory("guest", 8192);
  const { READ, MMAP, CAPS } = RegionFlag;
  let info: Record<string, number | bigint> = {};
  let tail: Uint8Array = new Uint8Array(0);
  let descriptors: readonly number[] = [];
  const sparse = (next: number, areaCount: number, ...areas: readonly (readonly [offset: bigint, size: bigint])[]): Buffer => {
    const records = areas.map(([offset, size]) => record(SparseMmapArea, { offset, size }));
    return record(SparseMmap, { id: 1, version: 1, next, areaCount }, Buffer.concat(records));
  };
  withClient(
    server,
    (id, command) => ({ bytes: reply(id, command, record(RegionInfo, info, tail)), descriptors }),
    (client) => {
      const wrong = (values: typeof info, behind: Uint8Array, expected: object): void => {
        [info, tail, descriptors] = [values, behind, [shared.descriptor]];
        assert.throws(() => client.mapRegion(2), expected);
      };
      const caps = { flags: READ | MMAP | CAPS, capOffset: 32, size: 8192n };
      const protocol = { errno: Errno.EPROTO };
      wrong({ ...caps, capOffset: 0xffff_fff0 }, sparse(0, 0), protocol);
      wrong({ ...caps, capOffset: 33 }, sparse(0, 0), protocol);
      wrong(caps, sparse(0, 2, [0n, 4096n]), protocol);
      wrong(caps, sparse(0, 0xffff_ffff), protocol);
      wrong(caps, sparse(0, 1, [4096n, 8192n]), { ...protocol, message: /8192 bytes at 4096 of region 2/ });
      wrong(caps, sparse(0, 1, [2n ** 52n, 2n ** 52n]), protocol);
      wrong(caps, sparse(0, 1, [2n ** 63n, 4096n]), { errno: Errno.EINVAL });
      wrong({ flags: READ | MMAP, size: 16_384n }, Buffer.alloc(0), { code: "EINVAL" });
      wrong({ flags: READ | MMAP, size: 4096n, offset: 8192n }, Buffer.alloc(0), { code: "EINVAL" });
      wrong({ flags: READ, size: 4096n }, Buffer.alloc(0), { errno: Errno.ENOTSUP });
      [info, tail, descriptors] = [{ flags: READ | MMAP, size: 4096n }, Buffer.alloc(0), [0]];
      assert.throws(() => client.mapRegion(2), { code: "EPERM" });
      descriptors = [];
      assert.throws(() => client.mapRegion(2), { errno: Errno.ENOTSUP });
      // a list of capabilities that leads back to itself ends too
      [info, tail] = [{ ...caps }, record(SparseMmap, { id: 7, version: 1, next: 32 })];
      assert.deepEqual(client.regionInfo(2).areas, [{ offset: 0, sizeBytes: 8192 }]);
      [info, tail, descriptors] = [{ ...caps }, sparse(0, 1, [4096n, 4096n]), [shared.descriptor]];
      assert.equal(client.mapRegion(2)[0]?.memory.bytes.length, 4096);
    },
  );
  shared.close();
});

test("client: a server that promises more than fits is not believed", (t) => {
  const server = new ScriptedServer(t);
  const json = '{"capabilities":{"max_msg_fds":1e9,"max_data_xfer_size":1e15}}\0';
  server.script = (id, command) => ({ bytes: reply(id, command, version(json)) });
  const client = server.connect();
  const invalid = { errno: Errno.EINVAL, message: /expected at most/ };
  assert.throws(() => client.read(0, 0, 2 ** 20 + 1), invalid);
  assert.throws(() => client.write(0, 0, new Uint8Array(2 ** 20 + 1)), invalid);
  assert.throws(() => client.setEventfds(2, 0, new Array<number>(17).fill(0)), invalid);
  const write = { region: 0, offset: 0, data: Uint8Array.of(1) };
  assert.throws(() => client.writeMulti(new Array<typeof write>(50_000).fill(write)), { errno: Errno.EINVAL });
  assert.deepEqual(server.seen, [Command.VERSION], "nothing was sent");
  client.close();
});

test("client: nobody listens, a thousand times: nothing is left", () => {
  const before = openDescriptors();
  for (let i = 0; i < 1000; i++) assert.throws(() => new VfioUserClient(join(tmpdir(), "vhca-nobody")), { code: "ENOENT" });
  assert.equal(openDescriptors(), before);
});
